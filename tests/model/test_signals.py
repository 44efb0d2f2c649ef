"""A stop that was asked for is clean, soon, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT, UNJUDGED, appliance, sets

pytestmark = pytest.mark.model
SMALL = sets("data.limit=32", "data.test_limit=8", "train.max_steps=6", "train.batch_size=4",
             "train.evaluations=1", "rehearsal.dialogues=8", "evaluate.answer_tokens=8",
             "evaluate.alternatives=false", *UNJUDGED)  # fmt: skip
SOON = 10.0  # seconds


@pytest.fixture
def command(tmp_path, off_task) -> list[str]:
    return ["train", "--run", str(tmp_path / "run"), *SMALL, "--set",
            f"evaluate.off_task={off_task}"]  # fmt: skip


def stop(command: list[str], stage: str, number: int, until: Path | None = None) -> tuple[int, str]:
    """Start it, send the signal in the stage (when `until` has lines): (exit code, stderr)."""
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background inherits an ignored SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if line.rstrip().endswith(f"] {stage}"):
                break
        while until and process.poll() is None and not (until.is_file() and until.read_text()):
            time.sleep(0.02)
        process.send_signal(number)
        sent = time.monotonic()
        told.append(process.stderr.read())
        code = process.wait(timeout=60)
        took = time.monotonic() - sent
    assert took < SOON, f"{took:.1f} s in {stage}: {''.join(told)}"
    return code, "".join(told)


def test_sigterm_in_any_stage_ends_soon_and_the_same_command_goes_on(command, tmp_path):
    run = tmp_path / "run"
    metrics = run / "train" / "metrics.jsonl"
    for stage in ("data", "baseline", "rehearse", "train", "evaluate", "export"):
        code, told = stop(command, stage, signal.SIGTERM, metrics if stage == "train" else None)
        assert code == 143, (stage, told)
        assert "Traceback" not in told
        assert "same command" in told
        if stage == "train":
            kept = list((run / "train" / "trainer").glob("checkpoint-*"))
            assert kept, told
            assert not (run / "adapter").exists()
    done = appliance(*command)
    assert done.returncode == 0, done.stderr
    assert "train: done before" in done.stderr
    events = [json.loads(line)["text"] for line in (run / "events.jsonl").open()]
    assert any(text.startswith("training goes on after step") for text in events), events
    losses = [json.loads(line) for line in metrics.open()]
    assert [row["step"] for row in losses if "loss" in row] == [1, 2, 3, 4, 5, 6]


def test_sigint_is_an_interruption(command):
    code, told = stop(command, "baseline", signal.SIGINT)
    assert code == 130, told
    assert "Traceback" not in told
    assert "same command" in told
