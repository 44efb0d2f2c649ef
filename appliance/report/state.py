"""How far a run is, from its events: going on, ended, refused, stopped, failed or killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from appliance.report.shapes import Event

KILLED = "killed from outside (out of memory, a machine taken back, power)"
LAST = "report"  # the stage at whose end a run has ended
Kind = Literal["new", "running", "finished", "refused", "stopped", "failed", "silent", "ended"]


@dataclass(frozen=True)
class State:
    """`stage`: the one that it is in, or was in at its end. `text`: its last words.

    `silent`: nothing was written when it ended, so it was killed. `ended`: it did what was asked,
    which was not all stages. `refused`: it came to its end, and the gate lets nothing ship.
    """

    kind: Kind
    stage: str = ""
    text: str = ""
    time: str = ""

    @property
    def running(self) -> bool:
        return self.kind == "running"

    @property
    def broken(self) -> bool:
        """Did it end before its end?"""
        return self.kind in ("stopped", "failed", "silent")


def look(events: Sequence[Event], *, running: bool) -> State:
    """`running`: a process holds the run."""
    telling = [e for e in events if e.kind in ("begins", "stage", "refused", "error", "stopped")]
    if not telling:
        return State("running" if running else "new")
    last = telling[-1]
    stage = next((e.text for e in reversed(telling) if e.kind in ("begins", "stage")), "")
    if running:
        return State("running", stage, "", last.time)
    before = telling[-2] if len(telling) > 1 else last
    if "refused" in (last.kind, before.kind) and last.kind in ("refused", "error"):
        return State("refused", stage, last.text, last.time)
    return State(_kind(last, stage), stage, last.text, last.time)


def _kind(last: Event, stage: str) -> Kind:
    if stage == LAST and last.kind in ("begins", "stage"):
        return "finished"
    if last.kind == "error":
        return "failed"
    if last.kind == "stopped":
        return "stopped"
    return "silent" if last.kind == "begins" else "ended"
