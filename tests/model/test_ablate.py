"""Three arms from one command, killed in the middle, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT, appliance, sets

pytestmark = pytest.mark.model
SMALL = sets(
    "data.limit=24", "data.test_limit=8", "train.max_steps=2", "train.batch_size=4",
    "train.evaluations=0", "evaluate.answer_tokens=8", "evaluate.task_tokens=8",
    "evaluate.suites=[]", "rehearsal.dialogues=8",
)  # fmt: skip


@pytest.fixture
def command(tmp_path) -> list[str]:
    suite = ROOT / "appliance" / "evaluate" / "suites" / "off_task.jsonl"
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(suite.read_text().splitlines()[:3]) + "\n")
    return ["ablate", "--arms", "plain,rehearsal,kl", "--seeds", "1", "--out", str(tmp_path / "a"),
            *SMALL, "--set", f"evaluate.off_task={few}"]  # fmt: skip


def stages(run: Path) -> list[tuple[str, bool]]:
    """(stage, was it taken from another run?) of every stage that ended, in order."""
    events = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return [(e["text"], "taken_from" in e) for e in events if e["kind"] == "stage"]


def kill_when_it_trains(command: list[str], run: Path) -> str:
    """What it had said until it was killed, as soon as `run` was training."""
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        told = run / "logs" / "run.log"
        while not (told.is_file() and "] train\n" in told.read_text()):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        return process.stderr.read()


def test_it_is_killed_and_the_same_command_goes_on_without_doing_again_what_is_done(
    command, tmp_path
):
    runs = tmp_path / "a" / "runs"
    said = kill_when_it_trains(command, runs / "rehearsal-3407")
    assert "[1/3] plain-3407 in " in said
    assert "left for 2 runs" in said
    trained = (runs / "plain-3407" / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    assert not (runs / "rehearsal-3407" / "train" / "train.json").exists()

    done = appliance(*command, "--json")
    assert done.returncode == 0, done.stderr
    assert "[1/3] plain-3407: done before" in done.stderr
    adapter = runs / "plain-3407" / "adapter" / "adapter_model.safetensors"
    assert adapter.stat().st_mtime_ns == trained
    own, shared = False, True
    rest = [("rehearse", own), ("train", own), ("evaluate", own), ("gate", own)]
    assert stages(runs / "plain-3407") == [("data", own), ("baseline", own), *rest]
    for arm in ("rehearsal-3407", "kl-3407"):
        assert stages(runs / arm) == [("data", shared), ("baseline", shared), *rest]
        for name in ("data/train.jsonl", "data/test.jsonl", "scores_before.json"):
            assert (runs / arm / name).read_bytes() == (runs / "plain-3407" / name).read_bytes()

    results = json.loads(done.stdout)
    assert results == json.loads((tmp_path / "a" / "results.json").read_text())
    assert {name: arm["drift"]["n"] for name, arm in results["arms"].items()} == {
        "plain": 3, "rehearsal": 3, "kl": 3,
    }  # fmt: skip
    # They were trained differently: no two arms drift alike.
    assert len({arm["drift"]["value"] for arm in results["arms"].values()}) == 3
    page = (tmp_path / "a" / "ablate.html").read_text()
    assert "<svg" in page
    assert "rehearsal+kl" not in page
