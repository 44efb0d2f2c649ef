"""What a run may take: `--max-hours`, and `--max-cost` at the price of an hour.

All commands that worked on a run count, as a rented machine does.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import FrameType

from appliance.console import console, span
from appliance.disk import read_log
from appliance.errors import ApplianceError, BadInput, LimitReached
from appliance.run import RunDir
from appliance.sizing.cards import Price

COMMAND = "command"  # the event of a command that begins to work on a run
ENDS = ("stage", "error", "stopped")  # what went on is over


@dataclass(frozen=True)
class Limit:
    """`seconds` of wall time, and the option that says so: `--max-hours 2`."""

    seconds: float
    option: str

    def short_of(self, seconds: float) -> str:
        """A warning where a run is forecast to take more; else ""."""
        if seconds <= self.seconds:
            return ""
        return (
            f"that is more than {self.option} ({span(self.seconds)}): it will stop there, with a "
            "checkpoint"
        )


def limit(hours: float | None, dollars: float | None, price: Price | None) -> Limit | None:
    """The nearer of the two; None where neither is given.

    Raises BadInput for a limit that is none, and for a limit of money without a price.
    """
    for option, value in (("--max-hours", hours), ("--max-cost", dollars)):
        if value is not None and not 0 < value < 1e6:
            raise BadInput(f"{option} {value:g} is no limit.", "Give a number above 0.")
    found = [] if hours is None else [Limit(hours * 3600, f"--max-hours {hours:g}")]
    if dollars is not None:
        if price is None or not price.per_hour:
            raise BadInput(
                "--max-cost needs to know what an hour of this machine costs.",
                "Say it by --price, in dollars.",
            )
        found.append(Limit(dollars / price.per_hour * 3600, f"--max-cost {dollars:g}"))
    return min(found, key=lambda each: each.seconds, default=None)


def spent(run: RunDir) -> float:
    """Wall seconds that all commands worked on the run until now.

    One that was killed worked until its last event, or its last step.
    """
    total, since, last = 0.0, None, 0.0  # since: when what goes on began; None: nothing does
    for kind, at, before in _told(run):
        if kind == COMMAND:
            total, since = before, at
        elif kind == "begins":
            since = since or at
        elif since is not None and kind in ENDS:
            total, since = total + at - since, None
        last = at if since is not None else last
    if since is None:
        return total
    if run.metrics.is_file():
        last = max(last, run.metrics.stat().st_mtime)
    return total + last - since


def _told(run: RunDir) -> Iterator[tuple[str, float, float]]:
    """(kind, time, seconds spent before it) of each event; damaged ones `doctor` names."""
    events = []
    with suppress(ApplianceError):
        events = read_log(run.events)
    for event in events:
        with suppress(KeyError, TypeError, ValueError):
            at = datetime.fromisoformat(event["time"]).timestamp()
            yield str(event["kind"]), at, float(event.get("spent", 0.0))


@contextmanager
def within(found: Limit | None, before: float) -> Iterator[None]:
    """Raises LimitReached when the limit is, `before` seconds being spent already.

    By a timer of the system, so that it holds in every stage; training hears it as it hears
    SIGTERM (`train/stopping.py`).
    """
    if found is None:
        yield
        return
    if before >= found.seconds:
        console.say(f"  {span(before)} are spent of the {span(found.seconds)} of {found.option}")
        raise LimitReached
    old = signal.signal(signal.SIGALRM, _reached)
    signal.setitimer(signal.ITIMER_REAL, found.seconds - before)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _reached(signum: int, frame: FrameType | None) -> None:
    raise LimitReached
