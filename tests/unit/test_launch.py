"""Before a training is handed to torchrun, and what comes back of it."""

from __future__ import annotations

import pytest

from appliance.disk import write_json
from appliance.errors import BadInput, RecipeError, TrainingFailed
from appliance.pipeline import Order, ready
from appliance.recipe import load
from appliance.run import RunDir
from appliance.train import launch


def test_a_batch_that_the_processes_cannot_share_is_refused_with_what_they_can(tmp_path):
    with pytest.raises(RecipeError, match="batch_size is 8, which 3 processes") as caught:
        ready(RunDir(tmp_path / "run"), load("sft", []), Order(gpus=3))
    assert "Take 1, 2, 4, 8 of them, or --set train.batch_size=9" in caught.value.do
    assert not (tmp_path / "run").exists()
    launch.check(load("sft", []), 4)


def test_machines_are_counted_as_torchrun_s_own_variable_says(monkeypatch):
    monkeypatch.delenv(launch.NODES, raising=False)
    assert launch.processes_of(4) == 4
    monkeypatch.setenv(launch.NODES, "2")
    assert launch.processes_of(4) == 8
    monkeypatch.setenv(launch.NODES, "1:4")
    with pytest.raises(RecipeError, match="PET_NNODES is 1:4"):
        launch.processes_of(4)


@pytest.mark.parametrize("kind", ["TrainingFailed", "NoSpace", "RunError"])
def test_what_a_process_failed_of_is_said_as_it_would_be_in_one(tmp_path, kind):
    run = RunDir(tmp_path)
    write_json(run.failure, {"kind": kind, "what": "It is so.", "do": "Do that."})
    found = launch._failure(run, 1)
    assert type(found).__name__ == kind
    assert (found.what, found.do) == ("It is so.", "Do that.")
    assert isinstance(found, BadInput) == (kind == "RunError")


def test_a_process_that_said_nothing_was_ended_from_outside(tmp_path):
    found = launch._failure(RunDir(tmp_path), 1)
    assert isinstance(found, TrainingFailed)
    assert "last checkpoint" in found.do
