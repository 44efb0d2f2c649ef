"""How long a run may take, and what is counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from appliance import limits, memory, pipeline
from appliance.cli.group import stages
from appliance.disk import append_jsonl, read_log, write_json
from appliance.errors import BadInput, LimitReached, Stop
from appliance.limits import Limit, limit
from appliance.recipe import load
from appliance.run import RunDir
from appliance.sizing.cards import Price

PRICE = Price(0.5, "as given")


def test_the_nearer_of_the_two_counts():
    assert limit(None, None, None) is None
    assert limit(2, None, None) == Limit(7200, "--max-hours 2")
    assert limit(2, 3, PRICE) == Limit(7200, "--max-hours 2")
    assert limit(2, 0.5, PRICE) == Limit(3600, "--max-cost 0.5")


@pytest.mark.parametrize(
    ("hours", "dollars", "price", "said"),
    [
        (0, None, None, "--max-hours 0 is no limit"),
        (float("nan"), None, None, "--max-hours nan"),
        (None, -1, PRICE, "--max-cost -1"),
        (None, 1, None, "what an hour of this machine costs"),
        (None, 1, Price(0, "as given"), "what an hour"),
    ],
)
def test_what_is_no_limit_is_refused(hours, dollars, price, said):
    with pytest.raises(BadInput, match=said):
        limit(hours, dollars, price)


def event(run: RunDir, second: int, kind: str, **facts) -> None:
    clock = f"2026-11-27T10:{second // 60:02d}:{second % 60:02d}+00:00"
    append_jsonl(run.events, {"time": clock, "kind": kind, "text": "", **facts})


def test_all_commands_count_and_the_time_between_them_does_not(tmp_path):
    run = RunDir(tmp_path)
    assert limits.spent(run) == 0
    event(run, 0, "command", spent=0)
    event(run, 90, "stage")
    event(run, 90, "begins")
    event(run, 100, "stopped")
    assert limits.spent(run) == 100
    event(run, 600, "command", spent=100)
    event(run, 605, "begins")
    assert limits.spent(run) == 105
    # Killed in its training: until its last step.
    run.metrics.parent.mkdir()
    run.metrics.write_text("{}\n")
    begun = 1795773600.0  # 10:00:00 of that day
    os.utime(run.metrics, (begun + 700, begun + 700))
    assert limits.spent(run) == 200
    event(run, 900, "command", spent=200)
    assert limits.spent(run) == 200
    event(run, 901, "begins")
    event(run, 960, "stage")
    event(run, 961, "begins")
    event(run, 970, "error")
    assert limits.spent(run) == 269  # what is between two stages is none of it
    # A later command that cannot even begin.
    event(run, 2000, "changed")
    event(run, 2000, "error")
    assert limits.spent(run) == 269


def test_events_that_are_strange_are_passed_over(tmp_path):
    run = RunDir(tmp_path)
    for odd in ({"time": 3, "kind": "command"}, {}, {"time": "x", "kind": "stage"}):
        append_jsonl(run.events, odd)
    assert limits.spent(run) == 0
    run.events.write_text("nothing\nat all\n")
    assert limits.spent(run) == 0


def test_the_timer_ends_what_is_going_on_and_is_taken_back():
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    with pytest.raises(LimitReached), limits.within(Limit(10.05, "--max-hours 1"), before=10.0):
        time.sleep(5)
    assert signal.getsignal(signal.SIGALRM) == handler
    with limits.within(Limit(20, "--max-hours 1"), before=0.0):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with pytest.raises(LimitReached), limits.within(Limit(20, "x"), before=20.0):
        pytest.fail("there was nothing left")
    if timer[0]:  # of whoever watches over the tests
        signal.setitimer(signal.ITIMER_REAL, *timer)
    assert issubclass(LimitReached, Stop)  # so that torchrun's processes are told likewise


def test_a_run_that_comes_to_its_limit_says_which_and_the_next_one_counts_it(tmp_path, monkeypatch):
    monkeypatch.setenv("APPLIANCE_VERBOSE", "1")
    run, recipe = RunDir(tmp_path / "run"), load("sft")
    slow = pipeline.Stage("data", lambda run: run.data_facts, lambda run, recipe: time.sleep(5))
    monkeypatch.setattr(pipeline, "STAGES", (slow,))
    monkeypatch.setattr(pipeline, "ready", lambda *args: None)
    with pytest.raises(LimitReached):
        stages(run, recipe, pipeline.Order(limit=Limit(0.2, "--max-hours 1")))
    last = read_log(run.events)[-1]
    assert (last["kind"], last["text"], last["exit"]) == ("stopped", "--max-hours 1", 4)
    with pytest.raises(LimitReached):
        stages(run, recipe, pipeline.Order(limit=Limit(-1.0, "--max-hours 1")))


def test_a_given_price_stands_in_the_manifest(tmp_path):
    from appliance import manifest

    run = RunDir(tmp_path)
    write_json(run.manifest, {"price": None, "seed": 1})
    manifest.charge(run, PRICE)
    text = run.manifest.read_text()
    assert '"per_hour": 0.5' in text
    assert '"seed": 1' in text
    before = run.manifest.stat().st_mtime_ns
    manifest.charge(run, PRICE)
    assert run.manifest.stat().st_mtime_ns == before
    assert manifest._listed({"device": "cpu"}) is None
    typical = manifest._listed(
        {"device": "cuda", "gpu": "NVIDIA GeForce RTX 4090", "gpu_memory_gib": 23.5}
    )
    assert typical is not None
    assert typical["per_hour"] > 0.1


def test_the_resident_peak_is_not_that_of_whoever_started_the_process():
    """What `getrusage` says of a small program is the peak of a large one that started it."""
    program = (
        "import subprocess, sys; x = b'1' * 400_000_000;"
        "print(subprocess.run([sys.executable, '-c', sys.argv[1]], text=True,"
        "capture_output=True, check=True).stdout)"
    )
    small = "from appliance.memory import resident_peak; print(resident_peak())"
    done = subprocess.run(
        [sys.executable, "-c", program, small], capture_output=True, text=True, check=True
    )
    assert 1e6 < int(done.stdout) < 2e8 < memory.resident_peak() + 2e8
