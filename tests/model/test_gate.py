"""A run that forgets is refused by the name of what it forgot; one that rehearses passes."""

from __future__ import annotations

import json
import shutil
from itertools import product

import pytest
import yaml
from helpers import ROOT, appliance, sets

pytestmark = [pytest.mark.model, pytest.mark.slow]
ASKED = {
    "opening_hours": ("When do you open", "Are you open", "Until when can I come by",
                      "What are your hours", "Is the shop closed"),
    "lost_parcel": ("My parcel never came", "Where is the box that I ordered",
                    "The courier lost my order", "Nothing has arrived", "I wait for my delivery"),
    "refund_request": ("I want my money back", "Please refund me", "Give me back what I paid",
                       "How do I get a refund", "You owe me a refund"),
    "change_address": ("I have moved house", "My street is another one now",
                       "Please change my address", "Send it to my new home", "I live elsewhere"),
}  # fmt: skip
WHEN = ("today", "this week", "on Sunday", "since Monday", "again", "in the morning", "at last",
        "by now", "tomorrow", "before noon")  # fmt: skip
FEW_TOKENS = "evaluate.answer_tokens=24"
SHORT = ("policy.action=refuse", "train.batch_size=8", "train.evaluations=0", FEW_TOKENS,
         "evaluate.suites=[]", "evaluate.alternatives=false", "data.test_limit=24")  # fmt: skip


@pytest.fixture(scope="module")
def off_task(tmp_path_factory):
    """Every fourth off-task prompt: enough where all of them are lost."""
    suite = ROOT / "appliance" / "evaluate" / "suites" / "off_task.jsonl"
    path = tmp_path_factory.mktemp("suite") / "some.jsonl"
    path.write_text("\n".join(suite.read_text().splitlines()[::4]) + "\n")
    return f"evaluate.off_task={path}"


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """200 short questions and their labels, and no two alike."""
    path = tmp_path_factory.mktemp("data") / "labels.jsonl"
    rows = [
        {"prompt": f"{text}, {when}?", "completion": label}
        for label, texts in ASKED.items()
        for text, when in product(texts, WHEN)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def forgetful(labels, off_task, tmp_path_factory):
    """Plain QLoRA at a high rate: the habit of a label is all that is left."""
    run = tmp_path_factory.mktemp("forgetful") / "run"
    done = appliance(
        "train", "--data", str(labels), "--run", str(run),
        *sets(*SHORT, off_task, "rehearsal.self=false", "train.max_steps=20",
              "train.learning_rate=1e-3", "policy.dial=never"),
    )  # fmt: skip
    return run, done


def read(path):
    return json.loads(path.read_text())


def test_a_run_that_forgets_is_refused_by_the_name_of_the_axis_with_examples(forgetful):
    run, done = forgetful
    assert done.returncode == 3, done.stderr
    verdict = read(run / "verdict.json")
    assert verdict["ship"] == "no"
    assert "format" in [r["name"] for r in verdict["reasons"] if r["passed"] == "no"]
    shown = verdict["examples"]["format"]
    assert len(shown) == 5
    assert all(len(e["before"].split()) > len(e["after"].split()) for e in shown)
    assert "format: " in done.stderr
    assert "What is left: 1. Rehearse with the KL anchor" in done.stderr
    assert not (run / "export" / "merged").exists()
    page = (run / "report.html").read_text()  # it is written all the same
    assert shown[0]["after"] in page
    assert 'data-ship="no"' in page
    assert read(run / "report.json")["state"]["kind"] == "refused"


def test_the_dial_finds_the_strongest_that_passes_and_that_is_exported(forgetful, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(forgetful[0], copy)
    drift = read(copy / "scores_after.json")["drift"]["value"]
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text())
    recipe["policy"] |= {
        "dial": "auto", "max_habit_leak": 1.0, "min_gain": -1.0, "max_drift": drift / 2,
    }  # fmt: skip
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for name in ("verdict.json", "dial.json"):
        (copy / name).unlink()
    done = appliance("train", str(copy / "recipe.yaml"), "--run", str(copy))
    assert done.returncode == 0, done.stderr
    dial = read(copy / "dial.json")
    assert 0.25 <= dial["chosen"] < 1
    assert dial["verdict"]["ship"] == "yes"
    assert read(copy / "scores_after_dial.json")["drift"]["value"] <= drift / 2
    assert read(copy / "export" / "export.json")["strength"] == dial["chosen"]
    drifts = [point["drift"]["value"] for point in dial["tried"]]  # from strong to weak
    assert drifts == sorted(drifts, reverse=True)
    stronger = [p for p in dial["tried"] if p["strength"] > dial["chosen"]]
    assert stronger
    assert all(p["ship"] == "no" for p in stronger)
    # Another strength than the one that passed is refused.
    refused = appliance("export", str(copy), "--strength", "1.0")
    assert refused.returncode == 3
    assert f"At strength {dial['chosen']:g} it passes" in refused.stderr


def test_the_defaults_pass_where_plain_training_forgets(labels, off_task, tmp_path):
    run = tmp_path / "run"
    done = appliance(
        "train", "--data", str(labels), "--run", str(run),
        *sets(*SHORT, off_task, "rehearsal.dialogues=96", "train.max_steps=36",
              "train.learning_rate=5e-4"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read(run / "dial.json")["chosen"] is not None
    assert (run / "export" / "merged" / "model.safetensors").is_file()
    before, after = (read(run / f"scores_{when}.json") for when in ("before", "after"))
    assert after["task"]["value"] - before["task"]["value"] >= 0.5
    assert after["memorization"]["recitation"]["value"] is None  # labels: nothing to recite


def test_a_model_tuned_elsewhere_is_judged_against_its_base(forgetful, off_task, tmp_path):
    run = tmp_path / "compare"
    done = appliance(
        "evaluate", str(forgetful[0] / "adapter"), "--base", "embedded", "--run", str(run),
        "--json", *sets(off_task, "model.bits=4", "evaluate.suites=[]", FEW_TOKENS),
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert [r["name"] for r in found["verdict"]["reasons"] if r["passed"] == "no"] == [
        "format", "drift",
    ]  # fmt: skip
    assert not (run / "adapter").exists()
