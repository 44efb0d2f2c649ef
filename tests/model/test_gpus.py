"""A training in two processes, as `train --gpus 2` hands it to torchrun; here on the CPU (gloo)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT

from appliance.model import backend
from appliance.recipe import build
from appliance.run import RunDir
from appliance.train.checkpoint import Checkpoints

pytestmark = pytest.mark.model


@pytest.fixture
def two(sft_run, tmp_path) -> RunDir:
    """The run of one process as it was before its training."""
    run = RunDir(tmp_path / "two")
    shutil.copytree(sft_run, run.root, ignore=shutil.ignore_patterns("export", "wandb", "adapter"))
    shutil.rmtree(run.train_facts.parent)
    run.events.unlink()
    # A step of two processes on two cores may take longer than a stop waits for its end.
    recipe = run.recipe().model_dump(mode="json")
    recipe["train"]["checkpoint_minutes"] = 0
    run.create(build(recipe, "this test"), force=True)
    return run


def begin(run: Path, gpus: int) -> subprocess.Popen:
    """The stage `train` of a prepared run, as the command line goes into it."""
    program = (
        "import sys;"
        "from appliance.cli.group import main, stages; from appliance.run import RunDir;"
        "from appliance.pipeline import Order;"
        "run = RunDir(sys.argv[1]);"
        "main.callback = lambda **k: None;"
        "order = Order('train', gpus=int(sys.argv[2]));"
        "main.command('go')(lambda: stages(run, run.recipe(), order));"
        "main(['go'])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(run), str(gpus)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def steps(run: RunDir) -> dict[int, dict]:
    records = [json.loads(line) for line in run.metrics.open()]
    found = [record for record in records if "loss" in record]
    assert len({record["step"] for record in found}) == len(found)
    return {record["step"]: record for record in found}


def facts(run: RunDir) -> dict:
    return json.loads(run.train_facts.read_text())


def test_two_processes_have_one_process_s_losses_and_go_on_after_a_stop(sft_run, two):
    process = begin(two.root, 2)
    assert process.stderr is not None
    while process.poll() is None and not (two.metrics.is_file() and two.metrics.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = process.stderr.read()
    assert process.wait() == 143, said
    assert "Traceback" not in said
    assert "stopping after this step, with a checkpoint" in said
    assert Checkpoints(two.trainer, 2).newest(), said
    assert "ended at once" in said or (two.trainer / "checkpoint-2").is_dir(), said
    assert not two.adapter.exists()

    process = begin(two.root, 2)
    said = process.stderr.read()
    assert process.wait() == 0, said
    assert "training goes on after step" in two.events.read_text()
    assert "stopped" in two.events.read_text()
    one = RunDir(sft_run)
    assert facts(two)["processes"] == 2
    assert facts(two)["rehearsed"]["rows"] == facts(one)["rehearsed"]["rows"]
    mine, other = steps(two), steps(one)
    assert list(mine) == list(other)  # each was written once
    # In fp32 they are the same; bf16 rounds sums in another order otherwise, and after the first
    # change of the weights what they differ by grows.
    same = 5e-3 if backend.bf16() else 1e-4
    assert mine[1]["loss"] == pytest.approx(other[1]["loss"], rel=min(same, 1e-4))
    assert mine[1]["grad_norm"] == pytest.approx(other[1]["grad_norm"], rel=2e-3)
    assert mine[2]["loss"] == pytest.approx(other[2]["loss"], rel=same)
    assert mine[2]["task_loss"] == pytest.approx(other[2]["task_loss"], rel=same)
    for step, record in mine.items():  # the last one is filled up with rows of the pass's beginning
        assert record["loss"] == pytest.approx(other[step]["loss"], rel=0.05)
        assert record["learning_rate"] == other[step]["learning_rate"]
