"""A dead run explains itself."""

from __future__ import annotations

import pytest

from appliance.disk import write_json
from appliance.doctor.run import SILENT, examine
from appliance.errors import RunError
from appliance.pipeline import STAGES
from appliance.recipe import load
from appliance.run import RunDir, hold


@pytest.fixture
def run(tmp_path):
    """One that has come to its training."""
    found = RunDir(tmp_path / "my run")
    found.create(load("sft"))
    for stage in STAGES[:3]:
        found.event("begins", stage.name)
        write_json(stage.done(found), {})
        found.event("stage", stage.name, seconds=1.0)
    found.event("begins", "train")
    return found


def told(run):
    before = {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file() and p.name != "lock"}
    lines = {line.name: line for line in examine(run.root)}
    after = {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file() and p.name != "lock"}
    assert after == before
    return lines


def test_one_that_was_killed_says_where_and_what_to_type(run):
    lines = told(run)
    assert lines["done"].found == "data, baseline, rehearse"
    assert lines["stopped in"].found == "train"
    assert lines["why"].found == SILENT
    assert lines["checkpoint"].found == "none: training begins anew"
    assert f"--run '{run.root}'" in lines["go on"].do
    (run.trainer / "checkpoint-12").mkdir(parents=True)
    (run.trainer / "checkpoint-4").mkdir()
    assert told(run)["checkpoint"].found == "after step 12"


@pytest.mark.parametrize(
    ("kind", "text"), [("error", "No space left for x. Free some."), ("stopped", "SIGTERM")]
)
def test_the_last_word_is_the_reason(run, kind, text):
    run.event(kind, text)
    assert text in told(run)["why"].found


def test_a_later_start_without_a_word_is_no_old_error(run):
    run.event("error", "The disk was full.")
    run.event("begins", "train")
    assert told(run)["why"].found == SILENT


def test_one_that_goes_on_says_so(run):
    with hold(run.root, "--run"):
        assert "works on train" in told(run)["now"].found


def test_one_that_is_through_says_so(run):
    for stage in STAGES:
        write_json(stage.done(run), {})
    assert told(run)["end"].found == "it came to its end"


@pytest.mark.parametrize("damage", ["recipe", "events"])
def test_a_damaged_one_is_told_in_a_sentence(run, damage):
    path = run.recipe_file if damage == "recipe" else run.events
    path.write_bytes(b"\xff\x00{" + path.read_bytes())
    assert told(run)[damage].status == "fail"


def test_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        examine(tmp_path)
