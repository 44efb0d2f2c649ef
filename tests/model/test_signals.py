"""A stop that was asked for is clean, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from helpers import ROOT, UNJUDGED, appliance, sets

pytestmark = pytest.mark.model
SMALL = sets("data.limit=32", "data.test_limit=8", "train.max_steps=1", "train.evaluations=0",
             "rehearsal.dialogues=8", "evaluate.answer_tokens=8", *UNJUDGED)  # fmt: skip


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_and_the_same_command_goes_on(tmp_path, off_task, number, code):
    run = str(tmp_path / "run")
    command = ["train", "--run", run, *SMALL, "--set", f"evaluate.off_task={off_task}"]
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
        for line in process.stderr:
            if "baseline" in line:
                process.send_signal(number)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=20) == code, rest
    assert "Traceback" not in rest
    assert "same command" in rest
    if number == signal.SIGTERM:
        done = appliance(*command)
        assert done.returncode == 0, done.stderr
        assert "data: done before" in done.stderr
