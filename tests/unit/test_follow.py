"""A run watched from outside: how it stands, when it ends, and nothing written."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.disk import append_jsonl, write_json, write_jsonl
from appliance.follow import screen
from appliance.follow.snapshot import Follower
from appliance.follow.tail import Tail
from appliance.pipeline import STAGES
from appliance.recipe import load
from appliance.report.words import Pace, pace
from appliance.run import RunDir, held, hold


@pytest.fixture
def run(tmp_path):
    """One that has come to its training, a minute ago."""
    found = RunDir(tmp_path / "demo")
    found.create(load("sft"))
    for stage in STAGES[:3]:
        found.event("begins", stage.name)
        write_json(stage.done(found), {})
        found.event("stage", stage.name, seconds=61.0)
    found.event("begins", "train")
    return found


def train(run, steps, done, begun=0):
    """Steps of a second each."""
    run.event("train", "training begins", steps=steps, begun=begun)
    rows = [{"step": n, "loss": 1 / n, "seconds": float(n)} for n in range(1, done + 1)]
    write_jsonl(run.metrics, [*rows, {"step": done, "held_out_loss": 0.4}])


def files(run):
    return {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file()}


def test_a_log_is_read_as_it_grows_and_anew_when_it_is_another(tmp_path):
    tail = Tail(tmp_path / "log.jsonl")
    tail.look()
    assert tail.rows == []
    tail.path.write_text('{"step": 1}\n{"step"')
    tail.look()
    assert tail.fresh == [{"step": 1}]
    with tail.path.open("a") as handle:
        handle.write(': 2}\n\xff{\n[3]\n{"step": 3}\n')
    tail.look()
    assert tail.fresh == [{"step": 2}, {"step": 3}]
    write_jsonl(tail.path, [{"step": 9, "more": "x" * 99}])  # put in its place, and longer
    tail.look()
    assert tail.rows == tail.fresh == [{"step": 9, "more": "x" * 99}]


def test_time_left_is_by_the_pace_since_training_began(run):
    train(run, 40, done=20, begun=10)
    with hold(run.root, "--run"):
        now = Follower(run).look()
    assert (now.exit_code, now.reading.state.kind) == (None, "running")
    assert pace(now.reading) == Pace(20, 40, 20.0, 20.0)
    said = screen.block(now)
    assert said[0] == "demo: running, train"
    assert said[1].strip().startswith("data 1m01s · baseline 1m01s · rehearse 1m01s · [train]")
    assert "███████████████░░░░" in said[2]
    assert "20/40, 20s left, loss 0.050, held-out 0.400" in said[2]


def test_before_its_first_step_nothing_is_foretold(run):
    with hold(run.root, "--run"):
        assert pace(Follower(run).look().reading) is None
        train(run, 40, done=0)
        assert pace(Follower(run).look().reading) == Pace(0, 40, None, None)


@pytest.mark.parametrize(
    ("event", "kind", "code", "said"),
    [
        (
            ("error", "The gate said no.", {"exit": 3}),
            "failed",
            3,
            "It failed in the stage train: The gate said no.",
        ),
        (("error", "Of an older version.", {}), "failed", 1, "Of an older version."),
        (("stopped", "SIGINT", {"exit": 130}), "stopped", 130, "SIGINT"),
        (("stopped", "SIGTERM", {"exit": 143}), "stopped", 143, "SIGTERM"),
        (("stopped", "--max-hours 2", {"exit": 4}), "stopped", 4, "--max-hours 2"),
        (("alarm", "The loss rises.", {}), "silent", 1, "killed from outside"),
        (("stage", "train", {"seconds": 3.0}), "ended", 0, "as it was asked to"),
    ],
)
def test_a_run_that_is_over_says_how_and_ends_the_watch_with_its_exit_code(
    run, event, kind, code, said
):
    run.event(event[0], event[1], **event[2])
    before = files(run)
    done = CliRunner().invoke(main, ["watch", str(run.root)])
    assert (done.exit_code, Follower(run).look().reading.state.kind) == (code, kind)
    assert said in done.stdout
    assert ("go on with: appliance train" in done.stdout) == (kind != "ended")
    assert files(run) == before


def test_a_run_that_came_to_its_end_names_its_report(run):
    run.event("begins", "report")
    run.event("stage", "report", seconds=1.0)
    done = CliRunner().invoke(main, ["watch", str(run.root)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == f"  read {run.report}"


def test_lines_of_a_log_that_say_nothing_are_passed_over(run):
    append_jsonl(run.events, {"kind": "begins"})
    append_jsonl(run.events, {"kind": "train", "text": "training begins", "steps": None})
    run.event("stopped", "SIGTERM", exit=143)
    assert Follower(run).look().exit_code == 143


def test_where_the_gate_lets_nothing_ship_the_code_is_3(run):
    for kind in ("begins", "refused", "error"):
        run.event(kind, "export")
    assert Follower(run).look().exit_code == 3


def test_no_run_is_refused_and_no_lock_is_made_by_asking(run, tmp_path):
    done = CliRunner().invoke(main, ["watch", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert not held(run.root)
    assert not (run.root / "lock").exists()


def test_who_only_asks_whether_a_run_is_held_does_not_keep_it_from_starting(run):
    with hold(run.root, "--run"):
        pass
    with (run.root / "lock").open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.02, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        with hold(run.root, "--run"):
            assert held(run.root)


HOLD = """
import sys
from appliance.run import RunDir
run = RunDir(sys.argv[1])
with run.lock():
    print("held", flush=True)
    sys.stdin.readline()
    run.event("error", "No space left.", exit=1)
"""


def watching(run, terminal):
    """`watch` in a process of its own, on a terminal (its output) or a pipe."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-m", "appliance", "watch", str(run.root)]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.PIPE,
        # A test run in the background inherits an ignored SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def drained(source):
    """What a terminal was sent, to its end."""
    found = bytearray()
    while True:
        try:
            found += os.read(source, 1 << 16)
        except OSError:  # its other end is closed
            os.close(source)
            return found.decode()


def test_it_follows_a_live_run_on_a_terminal_and_in_a_pipe_and_ends_with_it(run):
    train(run, 40, done=20)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    (drawing, terminal), (telling, pipe) = watching(run, True), watching(run, False)
    stopped, out = watching(run, True)
    os.read(out, 1)
    stopped.send_signal(signal.SIGINT)
    begun = os.read(terminal, 1 << 16).decode()
    assert stopped.wait(60) == 130
    assert b"the run goes on" in stopped.stderr.read()
    os.close(out)
    with os.fdopen(pipe, encoding="utf-8") as lines:
        assert " train 20/40, 2" in lines.readline()
        run.event("note", "The loss still falls.")
        assert any("note: The loss still falls." in line for line in lines)
        holder.communicate(b"\n")
        rest = lines.read()
    assert drawing.wait(60) == telling.wait(60) == 1
    assert "failed in the stage train" in rest
    assert "\033" not in rest
    drawn = (begun + drained(terminal)).split("\033[J")
    assert len(drawn) > 2
    assert drawn[1].startswith("demo: running, train\r\n")
    assert drawn[1].endswith("\033[4A\r")  # as many lines up as it drew
    assert "failed in the stage train" in drawn[-1]
