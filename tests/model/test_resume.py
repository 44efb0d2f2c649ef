"""A training that is killed goes on, and ends as one that never was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT, UNJUDGED, kill_often, up_to

from appliance.recipe import load
from appliance.run import RunDir

pytestmark = pytest.mark.model
STEPS = 12
RECIPE = ("data.limit=48", "data.test_limit=8", f"train.max_steps={STEPS}", "train.batch_size=4",
          "train.evaluations=3", "train.checkpoint_minutes=0", "rehearsal.dialogues=8",
          "evaluate.answer_tokens=8", "evaluate.alternatives=false", *UNJUDGED)  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, off_task) -> Path:
    """A run up to its training."""
    run = tmp_path_factory.mktemp("resume") / "prepared"
    up_to(run, "rehearse", *RECIPE, f"evaluate.off_task={off_task}")
    return run


def copied(prepared: Path, name: str, *overrides: str) -> RunDir:
    run = RunDir(prepared.with_name(name))
    shutil.copytree(prepared, run.root)
    off_task = RunDir(prepared).recipe().evaluate.off_task
    run.create(load("sft", [*RECIPE, f"evaluate.off_task={off_task}", *overrides]), force=True)
    return run


@pytest.fixture(scope="module")
def steps(request) -> int:
    """So many kills must find something to interrupt."""
    kills = request.config.getoption("--kills")
    return STEPS if kills <= 20 else kills * 3 // 2


@pytest.fixture(scope="module")
def killable(steps) -> tuple[str, ...]:
    """Small steps: most of the time is to be spent on ends and beginnings."""
    return f"train.max_steps={steps}", "train.batch_size=2"


@pytest.fixture(scope="module")
def unbroken(prepared, killable) -> Path:
    run = copied(prepared, "unbroken", *killable).root
    assert kill_often(run, 0)["begun_at"] == [0]
    return run


def records(run: Path) -> list[dict]:
    lines = (run / "train" / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if "loss" in r]


def losses(run: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in records(run)]


def test_killed_at_random_moments_it_ends_as_if_nothing_had_been(
    prepared, unbroken, steps, killable, request
):
    run = copied(prepared, "killed", *killable).root
    kills = request.config.getoption("--kills")
    found = kill_often(run, kills)
    assert found["kills"] >= kills // 2, found
    assert len(set(found["begun_at"])) > 2, found  # it went on from several checkpoints
    assert losses(run) == losses(unbroken)
    assert len(losses(run)) == steps
    weights = "adapter/adapter_model.safetensors"
    assert (run / weights).read_bytes() == (unbroken / weights).read_bytes()
    facts = [json.loads((r / "train" / "train.json").read_text()) for r in (run, unbroken)]
    for same in ("steps", "last_loss", "held_out_loss", "best_step", "rehearsed"):
        assert facts[0][same] == facts[1][same], same
    assert not (run / "train" / "trainer").exists()


def test_a_disk_that_fills_in_mid_write_loses_nothing(prepared, tmp_path):
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("NOT tested: no disk of its own can be mounted here")
    done = subprocess.run(
        ["unshare", "-m", sys.executable, str(ROOT / "tests" / "full_disk.py"), str(prepared),
         str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for when in ("checkpoint", "export"):
        assert found[when]["code"] == 1, found[when]
        assert "No space left" in found[when]["said"]
        assert "Traceback" not in found[when]["said"]
        assert not found[when]["part"]
    assert found["checkpoint"]["checkpoints"], found["checkpoint"]
    assert found["export"]["adapter"]
    assert not found["export"]["merged"]
    assert "train: done before" not in found["export"]["said"]  # it went on from its checkpoint
    assert found["last"]["code"] == 0, found["last"]
    assert found["last"]["merged"]


def train_here(prepared: Path, name: str, *overrides: str) -> Path:
    """In this process, from what is prepared."""
    from appliance.disk import read_json
    from appliance.train.skeleton import train

    run = copied(prepared, name, *overrides)
    train(run, run.recipe())
    assert read_json(run.train_facts)["steps"] == STEPS
    return run.root


def test_out_of_memory_halves_the_rows_at_once_and_goes_on_from_the_last_step(
    prepared, monkeypatch
):
    import torch

    from appliance.train import anchor

    whole, calls = anchor.Rehearsal.turn, []

    def full_at_the_seventh(self, accumulation):
        calls.append(accumulation)
        if len(calls) == 7:
            raise torch.OutOfMemoryError("made for this test")
        return whole(self, accumulation)

    # At a low rate the two stay near each other; else what is rounded otherwise grows.
    slow = "train.learning_rate=2e-5"
    small = train_here(prepared, "small", "train.micro_batch=2", slow)
    monkeypatch.setattr(anchor.Rehearsal, "turn", full_at_the_seventh)
    halved = train_here(prepared, "halved", "train.micro_batch=4", slow)
    assert calls[:9] == [1] * 7 + [2, 2]  # step 7 again, in halves
    events = [json.loads(line) for line in (halved / "events.jsonl").open()]
    memory = [e for e in events if e["kind"] == "memory"]
    assert [(e["step"], e["micro"]) for e in memory] == [(6, 2)]
    assert [step for step, _ in losses(halved)] == list(range(1, STEPS + 1))
    # bf16 sums in another order; the task's own loss of the step is not that of both tries.
    for mine, other in zip(records(halved), records(small), strict=True):
        for loss in ("loss", "task_loss"):  # the task's own is there where it is another
            both = [record.get(loss, record["loss"]) for record in (mine, other)]
            assert both[0] == pytest.approx(both[1], rel=0.03)


def test_where_one_row_is_too_much_it_says_what_to_do(prepared, monkeypatch):
    import torch

    from appliance.errors import TrainingFailed
    from appliance.train import anchor

    def full(self, model, turn):
        raise torch.OutOfMemoryError("made for this test")

    monkeypatch.setattr(anchor.Rehearsal, "term", full)
    with pytest.raises(TrainingFailed, match="does not hold one row") as caught:
        train_here(prepared, "one", "train.micro_batch=2")
    assert "model.max_length" in caught.value.do


def test_like_lengths_come_in_the_order_of_their_epoch_whatever_was_drawn_before(tmp_path):
    """As on a GPU, where rows are padded."""
    from types import SimpleNamespace

    from appliance.model import backend

    torch = backend.torch()
    from transformers.trainer_pt_utils import LengthGroupedSampler

    from appliance.train.checkpoint import Checkpoints
    from appliance.train.resume import resumable

    lengths = [(7 * i) % 60 + 5 for i in range(90)]

    class Trainer:
        def _get_train_sampler(self, train_dataset=None):
            return LengthGroupedSampler(4, dataset=range(90), lengths=lengths)

    def order(epoch, drawn):
        torch.manual_seed(drawn)
        made = resumable(Trainer, Checkpoints(tmp_path, 1), lambda folder: None, 3407, 8)()
        made.state = SimpleNamespace(epoch=epoch)
        return list(made._get_train_sampler())

    assert order(1.0, drawn=0) == order(1.0, drawn=1)
    assert order(0.0, drawn=0) != order(1.0, drawn=0)
    assert sorted(order(0.0, drawn=0)) == list(range(90))
