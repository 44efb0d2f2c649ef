"""A snapshot as text: a block that a terminal renews in place, or a line for a log."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TextIO

from appliance.console import span
from appliance.follow.snapshot import Follower, Snapshot
from appliance.report.read import Record
from appliance.report.shapes import Event
from appliance.report.words import Pace, pace, progress
from appliance.run import RunDir

SHOWN = 6  # events on the screen
POLL = 1.0  # seconds between two looks
EVERY = 15.0  # seconds between two lines of steps, as the bar of a run
BAR = 30


def follow(run: RunDir, once: bool, out: TextIO | None = None) -> int:
    """Show the run until it ends, or `once`; the exit code is the run's (0 while it goes on)."""
    out = out or sys.stdout
    follower = Follower(run)
    if once or not out.isatty():
        return _lines(follower, once, lambda text: print(text, file=out, flush=True))
    return _redraw(follower, out)


def _redraw(follower: Follower, out: TextIO) -> int:
    drawn = 0
    while True:
        now = follower.look()
        size = shutil.get_terminal_size()
        # A line that is broken, or a block higher than the screen, could not be drawn over.
        lines = [line[: size.columns - 1] for line in block(now)][: size.lines - 1]
        up = f"\033[{drawn}A" if drawn else ""
        out.write(f"{up}\r\033[J" + "".join(f"{line}\n" for line in lines))
        out.flush()
        drawn = len(lines)
        if now.exit_code is not None:
            return now.exit_code
        time.sleep(POLL)


def _lines(follower: Follower, once: bool, say: Callable[[str], None]) -> int:
    """A line when the stage changes, for every event, and for the steps now and then."""
    before, said = "", 0.0
    now = follower.look()
    while not once and now.exit_code is None:
        for event in now.fresh:
            say(f"{_clock(event)} {_event(event)}")
        stage, passed = now.reading.state.stage, time.monotonic() - said
        if stage != before or (passed >= EVERY and pace(now.reading)):
            say(f"{time.strftime('%H:%M:%S')} {line(now)}")
            before, said = stage, time.monotonic()
        time.sleep(POLL)
        now = follower.look()
    for text in block(now):
        say(text)
    return now.exit_code or 0


def line(now: Snapshot) -> str:
    """`train 12/48, 3m05s left, loss 0.521, held-out 0.610, drift 0.010`."""
    where = now.reading.state.stage or "no stage yet"
    if found := pace(now.reading):
        return f"{where} {_steps(found, now.reading.metrics)}"
    return where if now.since is None else f"{where}, for {span(now.since)}"


def block(now: Snapshot) -> list[str]:
    """The whole snapshot."""
    reading = now.reading
    stands = f"running, {line(now)}" if reading.state.running else progress(reading)
    out = [f"{reading.name}: {stands}", f"  {_stages(now)}"]
    if found := pace(reading):
        full = int(BAR * found.step / found.steps)
        out[0] = f"{reading.name}: running, train" if reading.state.running else out[0]
        steps = _steps(found, reading.metrics)
        out.append(f"  {'█' * full}{'░' * (BAR - full)} {steps}")
    out += [f"  {_clock(event)} {_event(event)}" for event in now.told[-SHOWN:]]
    if now.silent is not None:
        how = "; Ctrl-C ends this view, not the run" if reading.state.running else ""
        out.append(f"  last written {span(now.silent)} ago{how}")
    if reading.state.broken:
        out.append(f"  go on with: {RunDir(reading.root).again}")
    elif not reading.state.running:
        out.append(f"  read {RunDir(reading.root).report}")
    return out


def _stages(now: Snapshot) -> str:
    """`data 1s · baseline 1m37s · [train] · evaluate`: what is done has its time."""

    def one(name: str, seconds: float | None) -> str:
        if name == now.reading.state.stage and now.reading.state.running:
            return f"[{name}]"
        return name if seconds is None else f"{name} {span(seconds)}"

    return " · ".join(one(name, seconds) for name, seconds in now.stages)


def _steps(found: Pace, metrics: Sequence[Record]) -> str:
    parts = [f"{found.step:.0f}/{found.steps:.0f}"]
    if found.left:
        parts.append(f"{span(found.left)} left")
    measured = (
        ("loss", _last(metrics, "task_loss", "loss")),
        ("held-out", _last(metrics, "held_out_loss")),
        ("drift", _last(metrics, "drift")),
    )
    parts += [f"{name} {value:.3f}" for name, value in measured if value is not None]
    return ", ".join(parts)


def _last(metrics: Sequence[Record], *keys: str) -> float | None:
    """Of the last line that has one of them, the first of these."""
    return next((row[key] for row in reversed(metrics) for key in keys if key in row), None)


def _event(event: Event) -> str:
    return f"{event.kind.upper() if event.kind == 'alarm' else event.kind}: {event.text}"


def _clock(event: Event) -> str:
    """Hours, minutes, seconds of this machine's time."""
    try:
        return datetime.fromisoformat(event.time).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"
