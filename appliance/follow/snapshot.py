"""How a run stands at this moment, from its files and its lock alone. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from appliance.doctor.run import stages
from appliance.errors import ApplianceError, GateRefused
from appliance.follow.tail import Tail
from appliance.pipeline import STAGES
from appliance.report.read import Reading
from appliance.report.shapes import Event
from appliance.report.state import look
from appliance.run import RunDir, held

ENDS = ("error", "stopped")
TOLD = ("alarm", "note", "warning", "changed", "renewed", *ENDS)  # they say something


@dataclass(frozen=True)
class Snapshot:
    """`reading`: the run, as far as its logs say. `stages`: each with its seconds, None where it is
    not done. `since`: seconds in this one; `silent`: since the last line was written.
    """

    reading: Reading
    stages: Sequence[tuple[str, float | None]]
    since: float | None
    silent: float | None
    fresh: Sequence[Event]  # that came since the last look

    @property
    def told(self) -> list[Event]:
        return [e for e in self.reading.events if e.kind in TOLD]

    @property
    def exit_code(self) -> int | None:
        """That of the command which ended, as far as the run knows it; None while one works."""
        state = self.reading.state
        match state.kind:
            case "running":
                return None
            case "finished" | "ended":
                return 0
            case "refused":
                return GateRefused.exit_code
        last = next((e for e in reversed(self.reading.events) if e.kind in ENDS), None)
        return last.exit or 1 if last and state.broken and state.kind != "silent" else 1


class Follower:
    """Looks at a run again and again; reads only what is new."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._events, self._metrics = Tail(run.events), Tail(run.metrics)
        self.events: list[Event] = []
        try:
            self.wanted = [stage.name for stage in stages(run.recipe())]
        except ApplianceError:  # of another version: as a run goes through all of them
            self.wanted = [stage.name for stage in STAGES]

    def look(self) -> Snapshot:
        # The lock first: what a run that let go of it had to say is written by then.
        running = held(self.run.root)
        self._events.look()
        self._metrics.look()
        fresh = _events(self._events.fresh)
        self.events = _events(self._events.rows) if self._events.anew else [*self.events, *fresh]
        reading = Reading(
            root=self.run.root,
            name=self.run.root.resolve().name,
            state=look(self.events, running=running),
            events=tuple(self.events),
            metrics=tuple(r for r in self._metrics.rows if isinstance(r.get("step"), (int, float))),
        )
        begins = next((e for e in reversed(self.events) if e.kind == "begins"), None)
        written = [log.written for log in (self._events, self._metrics) if log.written is not None]
        return Snapshot(
            reading=reading,
            stages=[(name, reading.seconds.get(name)) for name in self.wanted],
            since=_ago(begins) if begins and running else None,
            silent=max(0.0, time.time() - max(written)) if written else None,
            fresh=[e for e in fresh if e.kind in TOLD],
        )


def _events(rows: Sequence[object]) -> list[Event]:
    found = []
    for row in rows:
        try:
            found.append(Event.model_validate(row))
        except ValidationError:
            continue
    return found


def _ago(event: Event) -> float | None:
    try:
        return max(0.0, time.time() - datetime.fromisoformat(event.time).timestamp())
    except ValueError:
        return None
