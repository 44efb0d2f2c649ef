"""The forecast that was made before anything ran, renewed by the pace of this training's steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import dropwhile
from typing import Any

from transformers import TrainerCallback

from appliance.console import span
from appliance.disk import read_log
from appliance.limits import Limit, spent
from appliance.model import backend
from appliance.run import RunDir

STEPS = 20  # after which it is renewed; the first of them warms up


class Forecast(TrainerCallback):
    """Says once how much is left of the training and of the whole run, and what it will cost."""

    def __init__(self, run: RunDir, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begun = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        here, left = state.global_step - self.begun, state.max_steps - state.global_step
        if here == 1:
            self.warm = time.monotonic()
        elif here == STEPS and left > 0 and self.run.writes:
            pace = (time.monotonic() - self.warm) / (STEPS - 1)
            try:
                self._renew(pace, left, state.max_steps)
            except Exception as error:  # no forecast is worth a training
                self.say(f"  no forecast: {error}")

    def _renew(self, pace: float, left: int, steps: int) -> None:
        """`pace`: seconds a step. The run's own events hold what was forecast at first."""
        first = [e for e in read_log(self.run.events) if e["kind"] == "forecast"]
        said = f"forecast after {STEPS} steps: {span(pace * left)} of training left"
        if not first or not first[-1].get("stages"):
            self.say(f"  {said}")
            return
        told = first[-1]
        reckoned = told["stages"]["train"] / steps
        # On a CPU what a step shows of matrix products holds for the later stages too.
        slower = 1.0 if backend.on_gpu() or not reckoned else pace / reckoned
        later = [*dropwhile(lambda stage: stage != "train", told["stages"])][1:]
        whole = spent(self.run) + pace * left
        whole += slower * sum(told["stages"][stage] for stage in later)
        said += f", {span(whole)} in all"
        if told.get("per_hour"):
            said += f", about ${whole / 3600 * told['per_hour']:.2f}"
        self.say(f"  {said}")
        if "limit" in told:
            limit = Limit(told["limit"], told["option"])
            if short := limit.short_of(whole):
                self.say(f"  warning: {short}")
        self.run.event("renewed", said, seconds=round(whole, 1), step=self.begun + STEPS)
