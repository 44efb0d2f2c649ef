"""How a run stands at this moment, from its files and its lock alone. Writes nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from appliance.doctor.run import Standing, stages, standing
from appliance.errors import ApplianceError
from appliance.follow.tail import Tail
from appliance.pipeline import STAGES
from appliance.run import RunDir, held

Row = dict[str, Any]
TOLD = ("alarm", "note", "warning", "changed", "error", "stopped")  # events with a sentence
_BEGUN = re.compile(r"after step (\d+)")


@dataclass(frozen=True)
class Training:
    """`left`: seconds until its last step, by the pace of the steps since it began."""

    done: int
    steps: int
    left: float | None
    loss: float | None
    held_out: float | None
    drift: float | None


@dataclass(frozen=True)
class Snapshot:
    """`stages`: each with its seconds, None where it is not done. `since`: seconds in this one."""

    standing: Standing
    stages: Sequence[tuple[str, float | None]]
    since: float | None
    training: Training | None
    told: Sequence[Row] = field(default=())
    fresh: Sequence[Row] = field(default=())  # of `told` those that came since the last look
    silent: float | None = None  # seconds since the last line was written

    @property
    def over(self) -> bool:
        return self.standing.kind != "running"


class Follower:
    """Looks at a run again and again; reads only what is new."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.events, self.metrics = Tail(run.events), Tail(run.metrics)
        try:
            self.wanted = [stage.name for stage in stages(run.recipe())]
        except ApplianceError:  # of another version: as a run goes through all of them
            self.wanted = [stage.name for stage in STAGES]

    def look(self) -> Snapshot:
        # The lock first: what a run that let go of it had to say is written by then.
        running = held(self.run.root)
        self.events.look()
        self.metrics.look()
        events = [e for e in self.events.rows if e.keys() >= {"time", "kind", "text"}]
        begins = next((e for e in reversed(events) if e["kind"] == "begins"), None)
        stands = standing(self.run, events, running)
        seconds = {e["text"]: e.get("seconds") for e in events if e["kind"] == "stage"}
        written = [t for t in (self.events.written, self.metrics.written) if t is not None]
        return Snapshot(
            standing=stands,
            stages=[(name, seconds.get(name)) for name in self.wanted],
            since=_ago(begins) if begins and running else None,
            training=self._training() if stands.stage == "train" else None,
            told=[e for e in events if e["kind"] in TOLD],
            fresh=[e for e in self.events.fresh if e.get("kind") in TOLD],
            silent=max(0.0, time.time() - max(written)) if written else None,
        )

    def _training(self) -> Training | None:
        """None before its first step is prepared."""
        event = next((e for e in reversed(self.events.rows) if e.get("kind") == "train"), None)
        if event is None or not event.get("steps"):
            return None
        rows = self.metrics.rows
        done = max((int(r["step"]) for r in rows if "loss" in r and "step" in r), default=0)
        return Training(
            done=done,
            steps=int(event["steps"]),
            left=self._left(event, done),
            loss=_last(rows, "task_loss", "loss"),
            held_out=_last(rows, "held_out_loss"),
            drift=_last(rows, "drift"),
        )

    def _left(self, event: Row, done: int) -> float | None:
        told = _BEGUN.search(str(event.get("text", "")))
        begun = int(event.get("begun") or (told[1] if told else 0))
        started = _seconds(event)
        if done <= begun or started is None or self.metrics.written is None:
            return None
        pace = (self.metrics.written - started) / (done - begun)
        return max(0.0, pace * (int(event["steps"]) - done))


def _last(rows: Sequence[Row], *keys: str) -> float | None:
    """Of the last row that has one of them, the first of these."""
    for row in reversed(rows):
        for key in keys:
            if isinstance(row.get(key), (int, float)):
                return float(row[key])
    return None


def _seconds(event: Row) -> float | None:
    try:
        return datetime.fromisoformat(event["time"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


def _ago(event: Row) -> float | None:
    then = _seconds(event)
    return None if then is None else max(0.0, time.time() - then)
