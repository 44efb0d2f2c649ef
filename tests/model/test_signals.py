"""A stop that was asked for is clean, soon, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from helpers import ROOT, UNJUDGED, appliance, sets

pytestmark = pytest.mark.model
SMALL = sets("data.limit=32", "data.test_limit=8", "train.max_steps=9", "train.batch_size=4",
             "train.evaluations=1", "rehearsal.dialogues=8", "evaluate.answer_tokens=8",
             "evaluate.alternatives=false", *UNJUDGED)  # fmt: skip
SOON = 10.0  # seconds


@pytest.fixture
def command(tmp_path, off_task) -> list[str]:
    return ["train", "--run", str(tmp_path / "run"), *SMALL, "--set",
            f"evaluate.off_task={off_task}"]  # fmt: skip


def stop(
    command: list[str], stage: str, number: int, until: Callable[[], bool] = lambda: True
) -> tuple[int, str]:
    """Start it, send the signal in the stage, when `until` is so: (exit code, stderr)."""
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
        while process.poll() is None and not until():
            time.sleep(0.02)
        process.send_signal(number)
        sent = time.monotonic()
        told.append(process.stderr.read())
        code = process.wait(timeout=120)
        took = time.monotonic() - sent
    # A limit waits for the step, however long it is.
    assert took < SOON or number == signal.SIGALRM, f"{took:.1f} s in {stage}: {''.join(told)}"
    return code, "".join(told)


def test_sigterm_in_any_stage_ends_soon_and_the_same_command_goes_on(command, tmp_path):
    run = tmp_path / "run"
    metrics = run / "train" / "metrics.jsonl"

    def losses() -> list[int]:
        lines = metrics.read_text().split("\n")[:-1] if metrics.is_file() else []
        return [row["step"] for row in map(json.loads, lines) if "loss" in row]

    for stage in ("data", "baseline", "rehearse", "limit", "train", "evaluate", "export"):
        # What the timer of a limit sends, when it has run out.
        limited, seen = stage == "limit", len(losses())
        number, end = (signal.SIGALRM, 4) if limited else (signal.SIGTERM, 143)
        training = limited or stage == "train"
        code, told = stop(
            [*command, "--max-cost", "9", "--price", "2"] if limited else command,
            "train" if limited else stage,
            number,
            (lambda: len(losses()) > seen) if training else lambda: True,  # noqa: B023
        )
        assert code == end, (stage, told)
        assert "Traceback" not in told
        assert "same command" in told
        if training:
            kept = list((run / "train" / "trainer").glob("checkpoint-*"))
            assert kept, told
            assert not (run / "adapter").exists()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["price"]["per_hour"] == 2
    done = appliance(*command)
    assert done.returncode == 0, done.stderr
    assert "train: done before" in done.stderr
    events = [json.loads(line)["text"] for line in (run / "events.jsonl").open()]
    assert any(text.startswith("training goes on after step") for text in events), events
    assert losses() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    told = [*map(json.loads, (run / "events.jsonl").open())]
    assert ("stopped", "--max-cost 9") in [(event["kind"], event["text"]) for event in told]
    assert "at 2 an hour (as given)" in (run / "export" / "README.md").read_text()


def test_sigint_is_an_interruption(command):
    code, told = stop(command, "baseline", signal.SIGINT)
    assert code == 130, told
    assert "Traceback" not in told
    assert "same command" in told
