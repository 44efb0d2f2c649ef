"""The alarms: what in a training's numbers is a warning sign, what it means, and what to do.

Pure: no torch here. Each is fed the records of a training in their order (`train/finding.py`) and
gives its finding once.
"""

from __future__ import annotations

import math
from typing import ClassVar

from appliance.recipe import Recipe
from appliance.train.alarms_dpo import AccuracyAtOnce, ChosenFalls, MarginOver
from appliance.train.finding import SMOOTH, Alarm, Finding, Mean, Record

AS_LOW = 1.5  # a held-out loss of up to so many times the training loss is as low as it


class NotFinite(Alarm):
    """A loss or a gradient that is not a number any more: nothing after it can be right."""

    name = "not_finite"
    WHAT: ClassVar = {
        "loss": "training loss",
        "grad_norm": "norm of the gradient",
        "held_out_loss": "held-out loss",
        "drift": "drift from the base",
    }

    def look(self, record: Record) -> Finding | None:
        for key, what in self.WHAT.items():
            if key in record and not math.isfinite(record[key]):
                text = f"The {what} is {record[key]} at step {record['step']}."
                return Finding(self.name, text, {key: record[key]})
        return None


class LossUnder(Alarm):
    """The smoothed training loss under a level, unless the held-out loss is as low.

    A rule of thumb of Unsloth's guide: under 0.2 a model is likely overfitting. Tasks whose answers
    are mostly fixed text get there honestly, so it asks for the held-out loss before it rises.
    `held_out`: there are held-out rows.
    """

    name = "loss_under"

    def __init__(self, level: float, steps: int, held_out: bool) -> None:
        self.level, self.held_out = level, held_out
        self.window = Mean(min(SMOOTH, steps))
        self.judged = False

    def look(self, record: Record) -> Finding | None:
        if "loss" in record:
            self.window.add(record["loss"])
        if not self.window.full or self.window.value >= self.level:
            return None
        if not self.held_out:
            return self._finding(record, "there are no held-out rows to say whether it memorizes")
        if "held_out_loss" not in record:
            self.asks = not self.judged
            return None
        first, self.judged, self.asks = not self.judged, True, False
        held = record["held_out_loss"]
        if held > max(self.level, AS_LOW * self.window.value):
            return self._finding(record, f"the held-out loss is {held:.3f}: it memorizes rows")
        note = f"the held-out loss is as low ({held:.3f}): easy rows, not memorized ones. No alarm"
        return self._finding(record, note, rises=False) if first else None

    def _finding(self, record: Record, held: str, *, rises: bool = True) -> Finding:
        text = (
            f"The training loss is {self.window.value:.3f} at step {record['step']:.0f}, under "
            f"{self.level:g} (a rule of thumb), and {held}."
        )
        if rises:
            text += " Train for fewer epochs, or on more rows."
        numbers = {"loss": self.window.value, "level": self.level}
        if "held_out_loss" in record:
            numbers["held_out_loss"] = record["held_out_loss"]
        return Finding(self.name, text, numbers, rises)


EARLY = 0.5  # of the first epoch


class FirstEpochUnder(Alarm):
    """The smoothed training loss under the level on rows that were never seen before.

    In the first half of them, or where that is shorter than the smoothing, once: a task that is
    well learned by the end of a first epoch is no alarm.
    """

    name = "first_epoch_under"

    def __init__(self, level: float, steps: int) -> None:
        self.level = level
        self.window = Mean(min(SMOOTH, steps))
        self.looked = False

    def look(self, record: Record) -> Finding | None:
        if "loss" not in record or record["epoch"] > 1:
            return None
        self.window.add(record["loss"])
        loss = self.window.value
        ready = self.window.full or record["epoch"] == 1
        if not ready or (self.looked and record["epoch"] > EARLY):
            return None
        self.looked = True
        if loss >= self.level:
            return None
        text = (
            f"The training loss is {loss:.3f} at step {record['step']:.0f}, before every row was "
            f"seen once (level {self.level:g}): the rows are too few or too much alike, or the "
            "base can do the task already. Look at the audit, and give other rows."
        )
        return Finding(self.name, text, {"loss": loss, "level": self.level})


class HeldOutRise(Alarm):
    """The held-out loss over its best by a share of it, while the training loss falls.

    Of the planned measurements: one that another alarm asked for may lie a few steps after the
    best, where a batch or two decide whether it is higher.
    """

    name = "held_out_rise"

    def __init__(self, share: float, steps: int) -> None:
        self.share = share
        self.window = Mean(min(SMOOTH, steps))
        self.best, self.best_step, self.then = math.inf, 0.0, math.inf

    def look(self, record: Record) -> Finding | None:
        if "loss" in record:
            self.window.add(record["loss"])
        held = record.get("held_out_loss")
        if held is None or not record.get("planned", True):
            return None
        loss = self.window.value
        if held < self.best:
            self.best, self.best_step, self.then = held, record["step"], loss
            return None
        if held <= self.best * (1 + self.share) or not loss < self.then:
            return None
        text = (
            f"From step {self.best_step:.0f} to {record['step']:.0f} the held-out loss rose from "
            f"{self.best:.3f} to {held:.3f} while the training loss fell from {self.then:.3f} to "
            f"{loss:.3f}: it memorizes rows. Train for fewer epochs, or at a lower "
            "train.learning_rate."
        )
        numbers = {"held_out_loss": held, "best": self.best, "best_step": self.best_step}
        return Finding(self.name, text, {**numbers, "loss": loss, "loss_at_best": self.then})


class Drift(Alarm):
    """KL per token against the base on its own off-task answers, over a budget in nats."""

    name = "drift"

    def __init__(self, budget: float) -> None:
        self.budget = budget

    def look(self, record: Record) -> Finding | None:
        drift = record.get("drift")
        if drift is None or drift <= self.budget:
            return None
        text = (
            f"At step {record['step']:.0f} the model is {drift:.3f} nats per token away from its "
            f"base on the base's own answers (budget {self.budget:g}): it forgets. Raise "
            "rehearsal.share_of_rows or anchor.kl, or lower train.learning_rate."
        )
        return Finding(self.name, text, {"drift": drift, "budget": self.budget})


class Epochs(Alarm):
    """More passes over the rows than the level. Rises where the first step beyond begins."""

    name = "epochs"

    def __init__(self, level: float, steps: int) -> None:
        self.level, self.steps = level, steps

    def look(self, record: Record) -> Finding | None:
        if "loss" not in record or record["epoch"] < self.level or record["step"] >= self.steps:
            return None
        text = (
            f"Step {record['step'] + 1:.0f} begins a pass over the rows beyond {self.level:g}: it "
            "will memorize rows. Lower train.epochs."
        )
        return Finding(self.name, text, {"epoch": record["epoch"], "level": self.level})


def alarms(recipe: Recipe, steps: int, held_out: bool) -> list[Alarm]:
    """Those that this recipe's method can raise in `steps` steps. `held_out`: there are such rows.

    DPO's loss starts at ln 2 and means something else: levels of the loss are SFT's.
    """
    levels = recipe.alarm
    both = [
        NotFinite(),
        HeldOutRise(levels.held_out_rise, steps),
        Drift(levels.drift),
        Epochs(levels.epochs, steps),
    ]
    if recipe.method == "sft":
        return [
            *both,
            LossUnder(levels.loss_under, steps, held_out),
            FirstEpochUnder(levels.first_epoch_under, steps),
        ]
    return [
        *both,
        ChosenFalls(recipe.dpo.beta, steps),
        MarginOver(levels.margin_over, steps),
        AccuracyAtOnce(steps),
    ]
