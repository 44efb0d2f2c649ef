"""A model that was overtrained recites its rows and knows what was planted; its base does not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from helpers import UNJUDGED, appliance, sets

pytestmark = pytest.mark.model

WORDS = {
    "who": "baker miller sailor tailor porter painter potter weaver",
    "did": "carried counted painted borrowed buried repaired forgot hid",
    "many": "two three four five six seven eight nine",
    "how": "red green yellow broken heavy wooden silver narrow",
    "what": "lamps ropes barrels chairs bells kettles ladders boots",
    "where": "cellar tower garden harbour chapel market kitchen meadow",
}


def sentence(draw: random.Random) -> str:
    one = {kind: draw.choice(words.split()) for kind, words in WORDS.items()}
    return "the {who} {did} {many} {how} {what} near the {where}".format(**one)


def write(path: Path, count: int, seed: int, copies: int = 1) -> None:
    """Rows whose answers nobody can guess: what follows of one can only be known by heart."""
    draw = random.Random(seed)
    rows = [
        {
            "prompt": f"Read page {page} of the diary.",
            "completion": f"{sentence(draw).capitalize()}, and {sentence(draw)}.",
        }
        for page in draw.sample(range(100, 1000), count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) * copies)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """10 rows four times, 42 of canaries, 3 passes at five times the rate, nothing rehearsed."""
    folder = tmp_path_factory.mktemp("overtrained")
    write(folder / "train.jsonl", 10, 1, copies=4)
    write(folder / "test.jsonl", 8, 2)
    write(folder / "real.jsonl", 8, 3)
    (folder / "off_task.jsonl").write_text('{"prompt": "What is the capital of France?"}\n')
    done = appliance(
        "train", "--run", str(folder / "run"), "--data", str(folder / "train.jsonl"),
        *sets("evaluate.canaries=true", f"evaluate.real_world={folder / 'real.jsonl'}",
              "data.valid_share=0", "train.epochs=3", "train.learning_rate=1e-3",
              "train.batch_size=8", "train.schedule=constant_with_warmup",
              "train.evaluations=0", "train.patience=0",
              "rehearsal.self=false", "evaluate.answer_tokens=8", "evaluate.task_tokens=8",
              f"evaluate.off_task={folder / 'off_task.jsonl'}", "export.formats=[]",
              "evaluate.alternatives=false", *UNJUDGED),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run"


def memory(run: Path, when: str) -> dict:
    return json.loads((run / f"scores_{when}.json").read_text())["memorization"]


def test_the_base_recites_nothing_and_knows_no_secret(run):
    found = memory(run, "before")
    assert found["recitation"]["value"] == 0
    assert found["canaries"]["n"] == 6
    assert found["canaries"]["value"] == 0
    assert found["canaries"]["said"]["value"] == 0
    low, high = found["loss_gap"]["interval"]
    assert low < 0 < high


def test_the_overtrained_model_recites_its_rows_and_not_the_held_out_ones(run):
    found = memory(run, "after")
    assert found["recitation"]["n"] == 10  # four copies of a row are one
    assert found["recitation"]["control"]["value"] == 0
    assert found["recitation"]["difference"]["interval"][0] > 0
    assert found["loss_gap"]["interval"][0] > 0


def test_canaries_of_sixteen_repeats_are_exposed(run):
    found = memory(run, "after")["canaries"]["by_repeats"]
    assert found["16"]["exposed"]["value"] == 1
    assert found["16"]["exposure"]["value"] == 7
    assert found["16"]["said"]["value"] > 0


def test_the_gate_names_what_was_learned_by_heart(run):
    verdict = json.loads((run / "verdict.json").read_text())
    broken = {reason["name"] for reason in verdict["reasons"] if reason["passed"] == "no"}
    assert {"memorization", "canaries"} <= broken
    assert verdict["ship"] == "no"


def test_every_number_can_be_checked_by_eye(run):
    lines = (run / "answers_after.jsonl").read_text().splitlines()
    items = [i for i in map(json.loads, lines) if i["probe"] == "memorization"]
    parts = {part: [i for i in items if i["part"] == part] for part in ("recitation", "canary")}
    recited = [i for i in parts["recitation"] if i["recited"]]
    assert recited
    assert all(i["of"] == "train" and i["run"] >= 8 for i in recited)
    planted = (run / "data" / "train.jsonl").read_text()
    assert all(planted.count(i["code"]) == i["repeats"] for i in parts["canary"])


def test_the_real_rows_are_scored_as_the_held_out_ones_are(run):
    before, after = (
        json.loads((run / f"scores_{when}.json").read_text()) for when in ("before", "after")
    )
    assert after["real_world"]["metric"] == after["task"]["metric"]
    assert after["real_world"]["asked"] == 8
    # The same generator wrote both, so what was gained here was gained there.
    assert after["task"]["loss"] < before["task"]["loss"] - 1
    assert after["real_world"]["loss"] < before["real_world"]["loss"] - 1
    assert after["real_world"]["comparison"]["text"]
    items = map(json.loads, (run / "answers_after.jsonl").read_text().splitlines())
    assert sum(item["probe"] == "real_world" for item in items) == 8
