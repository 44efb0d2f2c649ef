"""A snapshot as text: a block that a terminal renews in place, or a line for a log."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TextIO

from appliance.console import span
from appliance.doctor.run import again
from appliance.follow.snapshot import Follower, Snapshot, Training
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
        return _lines(follower, run, once, lambda text: print(text, file=out, flush=True))
    return _redraw(follower, run, out)


def _redraw(follower: Follower, run: RunDir, out: TextIO) -> int:
    drawn = 0
    while True:
        now = follower.look()
        size = shutil.get_terminal_size()
        # A line that is broken, or a block higher than the screen, could not be drawn over.
        lines = [line[: size.columns - 1] for line in block(now, run)][: size.lines - 1]
        up = f"\033[{drawn}A" if drawn else ""
        out.write(f"{up}\r\033[J" + "".join(f"{line}\n" for line in lines))
        out.flush()
        drawn = len(lines)
        if now.standing.exit_code is not None:
            return now.standing.exit_code
        time.sleep(POLL)


def _lines(follower: Follower, run: RunDir, once: bool, say: Callable[[str], None]) -> int:
    """A line when the stage changes, for every event, and for the steps now and then."""
    before, said = "", 0.0
    now = follower.look()
    while not once and not now.over:
        for event in now.fresh:
            say(f"{_clock(event)} {_event(event)}")
        stage, passed = now.standing.stage or "", time.monotonic() - said
        if stage != before or (passed >= EVERY and now.training):
            say(f"{time.strftime('%H:%M:%S')} {line(now)}")
            before, said = stage, time.monotonic()
        time.sleep(POLL)
        now = follower.look()
    for text in block(now, run):
        say(text)
    return now.standing.exit_code or 0


def line(now: Snapshot) -> str:
    """`train 12/48, 3m05s left, loss 0.521, held-out 0.610, drift 0.010`."""
    where = now.standing.stage or "no stage"
    if now.training:
        return f"{where} {_steps(now.training)}"
    return where if now.since is None else f"{where}, for {span(now.since)}"


def block(now: Snapshot, run: RunDir) -> list[str]:
    """The whole snapshot."""
    out = [f"{run.root.resolve().name}: {_stands(now)}", f"  {_stages(now)}"]
    if now.training:
        full = BAR * now.training.done // max(1, now.training.steps)
        out += [f"  {'█' * full}{'░' * (BAR - full)} {_steps(now.training)}"]
    out += [f"  {_clock(event)} {_event(event)}" for event in now.told[-SHOWN:]]
    if now.over:
        out += [f"  {text}" for text in _end(now, run)]
    elif now.silent is not None:
        out.append(f"  last written {span(now.silent)} ago; Ctrl-C ends this view, not the run")
    return out


def _stands(now: Snapshot) -> str:
    stands = now.standing
    if stands.kind == "running":
        return f"running, {line(now)}" if not now.training else f"running, {stands.stage}"
    if stands.kind in ("done", "ended"):
        return stands.text
    when = f" {span(now.silent)} ago or later" if now.silent is not None else ""
    return f"{stands.kind} in {stands.stage}{when}: {stands.text}"


def _stages(now: Snapshot) -> str:
    """`data 1s · baseline 1m37s · train … · evaluate`: what is done has its time."""

    def one(name: str, seconds: float | None) -> str:
        if name == now.standing.stage and now.standing.kind == "running":
            return f"[{name}]"
        return name if seconds is None else f"{name} {span(seconds)}"

    return " · ".join(one(name, seconds) for name, seconds in now.stages)


def _steps(training: Training) -> str:
    parts = [f"{training.done}/{training.steps}"]
    if training.left is not None and training.done < training.steps:
        parts.append(f"{span(training.left)} left")
    named = (("loss", training.loss), ("held-out", training.held_out), ("drift", training.drift))
    parts += [f"{name} {value:.3f}" for name, value in named if value is not None]
    return ", ".join(parts)


def _event(event: dict[str, Any]) -> str:
    kind = str(event["kind"])
    return f"{kind.upper() if kind == 'alarm' else kind}: {event.get('text', '')}"


def _clock(event: dict[str, Any]) -> str:
    """Hours, minutes, seconds of this machine's time."""
    try:
        return datetime.fromisoformat(event["time"]).astimezone().strftime("%H:%M:%S")
    except (KeyError, TypeError, ValueError):
        return "--:--:--"


def _end(now: Snapshot, run: RunDir) -> list[str]:
    """What to read, or what to type."""
    if now.standing.kind == "done":
        return [f"read {run.report}"]
    if now.standing.kind == "ended":
        return []
    return [f"go on with: {again(run)}"]
