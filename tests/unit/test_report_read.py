"""A run directory is read whatever state it is in, and what is wrong with it is said."""

from __future__ import annotations

import json
import random

import pytest
from report_runs import begun, whole

from appliance.disk import append_jsonl
from appliance.report.read import read
from appliance.run import RunDir


@pytest.fixture
def run(tmp_path):
    return whole(tmp_path / "mine")


def test_a_whole_run_is_read_whole(run):
    found = read(run)
    assert (found.absent, found.damaged) == ((), ())
    assert found.name == "mine"
    assert found.state.kind == "finished"
    assert found.verdict.ship == json.loads(run.verdict.read_text())["ship"]
    after = json.loads(run.scores_after.read_text())
    assert found.after.task.value == after["task"]["value"]
    assert list(found.after.task.interval) == after["task"]["interval"]
    assert set(found.after.axes) == set(after["axes"])
    assert found.series("drift")[-1] == (228, pytest.approx(0.3 * 228 / 231))
    assert len(found.series("loss")) == 231
    assert [a.text for a in found.alarms] == ["The loss is low plain."]
    assert len(found.answers_after) == len(run.answers_after.read_text().splitlines())
    assert found.seconds["train"] == 100


def test_a_dead_run_says_what_is_not_there(tmp_path):
    run = begun(tmp_path / "dead")
    found = read(run)
    assert found.state.kind == "silent"
    assert found.state.stage == "train"
    assert "verdict.json (gate)" in found.absent
    assert "scores_before.json (baseline)" not in found.absent
    assert found.damaged == ()


@pytest.mark.parametrize(
    ("kind", "text", "state"), [("stopped", "SIGTERM", "stopped"), ("error", "No space", "failed")]
)
def test_the_last_words_are_heard(tmp_path, kind, text, state):
    run = begun(tmp_path / "dead")
    run.event(kind, text)
    found = read(run).state
    assert (found.kind, found.stage, found.text) == (state, "train", text)


def test_a_run_that_a_process_holds_is_running(tmp_path):
    run = begun(tmp_path / "alive")
    with run.lock():
        assert read(run).state.kind == "running"
        assert read(run, over=True).state.kind == "silent"
    assert read(run).state.kind == "silent"


def test_a_run_that_the_gate_refused_is_over(tmp_path):
    run = whole(tmp_path / "refused", kept=0.3, chosen=None)
    run.event("begins", "export")
    run.event("refused", "The verdict is no")
    assert read(run, over=True).state.kind == "refused"
    run.event("error", "The verdict is no")
    assert read(run).state.kind == "refused"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("verdict", "", "verdict.json is damaged"),
        ("verdict", "{", "verdict.json is damaged"),
        ("verdict", "[]", "verdict.json is damaged"),
        ("verdict", '{"ship": "maybe", "reasons": []}', "verdict.json is damaged: ship"),
        ("scores_after", '{"task": 5}', "scores_after.json is damaged: task"),
        ("scores_after", "[" * 100_000, "scores_after.json is damaged"),
        ("recipe_file", "method: [", "cannot be read"),
        ("recipe_file", "method: sft", "is damaged"),
        ("manifest", "[1]", "manifest.json is damaged"),
        ("metrics", '{"step": 1, "loss": 2}\n{"loss"\n{"loss": 1}\n{"step"', "2 lines"),
        ("answers_after", '{"probe": "task", "prompt": 5}\n', "1 line cannot be read (1)"),
        ("events", "\0\n", "events.jsonl is damaged: 1 line"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_read(run, name, text, said):
    getattr(run, name).write_text(text)
    found = read(run)
    assert len(found.damaged) == 1
    assert said in found.damaged[0]
    assert found.before is not None


def test_a_folder_where_a_file_should_be_is_said(run):
    run.verdict.unlink()
    run.verdict.mkdir()
    assert "verdict.json cannot be read" in read(run).damaged[0]


def test_numbers_that_are_none_are_not_measured(run):
    scores = json.loads(run.scores_after.read_text())
    scores["drift"] |= {"value": float("nan"), "interval": [float("nan"), 1.0]}
    run.scores_after.write_text(json.dumps(scores))
    append_jsonl(run.metrics, {"step": 231, "loss": float("nan")})
    found = read(run)
    assert found.damaged == ()
    assert (found.after.drift.value, found.after.drift.interval) == (None, None)
    assert found.series("loss")[-1][1] != found.series("loss")[-1][1]


def test_an_empty_folder_is_read(tmp_path):
    found = read(RunDir(tmp_path))
    assert found.state.kind == "new"
    assert found.damaged == ()
    assert found.recipe is None
    assert len(found.absent) > 5


def test_no_damage_stops_the_reading(run):
    """Bytes changed, cut and put in at random, in any of the files."""
    draw = random.Random(7)
    files = sorted(p for p in run.root.rglob("*.json*") if p.is_file())
    kept = {path: path.read_bytes() for path in files}
    for _ in range(40):
        path = draw.choice(files)
        data = bytearray(kept[path])
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(data))
            if draw.random() < 0.5:
                data[place] = draw.randrange(256)
            else:
                del data[place : place + draw.randint(1, 40)]
        path.write_bytes(bytes(data))
        read(run)
        path.write_bytes(kept[path])
