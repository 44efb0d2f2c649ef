"""Keeps report.html fresh while it trains, for less than a hundredth of the time.

At every planned evaluation, and between them now and then; where a training is so short that the
page would take more than its share, not until its end.
"""

from __future__ import annotations

import time

from appliance.console import console
from appliance.report.page import write
from appliance.run import RunDir

SHARE = 0.01  # of the training time, at most
BETWEEN = 0.5  # of that share is for pages between the planned evaluations
FIRST = 2.0  # seconds that a page takes, before that is known: the first imports a library


class Live:
    """`spent`: seconds that the pages have taken so far; `cost`: what the next is likely to."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.spent, self.cost = 0.0, FIRST

    def step(self, step: int, steps: int, elapsed: float, *, planned: bool) -> None:
        """Write the page if it is due at the end of `step` of `steps`, after `elapsed` seconds.

        `planned`: the model was just measured, as often as the recipe says.
        """
        whole = elapsed * (steps / step if planned else BETWEEN)
        if not self.run.writes or self.spent + self.cost > SHARE * whole:
            return
        started = time.monotonic()
        try:
            write(self.run)
        except Exception as error:  # nothing on a page is worth a training
            console.say(f"  report.html could not be written while it trains: {error}")
            self.cost = float("inf")
            return
        self.cost = time.monotonic() - started
        self.spent += self.cost
