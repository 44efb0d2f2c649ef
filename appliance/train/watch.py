"""What is written and said while training: metrics, the held-out loss, the alarm."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from appliance.console import Bar, console
from appliance.errors import TrainingFailed
from appliance.recipe import Recipe
from appliance.run import RunDir, append_jsonl

SMOOTH = 10  # steps the training loss is averaged over before it may raise the alarm


class Alarm:
    """Rises once when the mean of the last SMOOTH training losses falls under the level.

    A rule of thumb of Unsloth's guide: under 0.2 a model is likely overfitting. Tasks whose
    answers are mostly fixed text get there honestly; the held-out loss decides.
    """

    def __init__(self, level: float, steps: int) -> None:
        self.level = level
        self.window: deque[float] = deque(maxlen=max(1, min(SMOOTH, steps)))
        self.risen = False

    def feed(self, loss: float) -> float | None:
        """The smoothed loss when the alarm rises at this step, else None."""
        self.window.append(loss)
        if self.risen or len(self.window) < (self.window.maxlen or 1):
            return None
        smooth = sum(self.window) / len(self.window)
        if smooth >= self.level:
            return None
        self.risen = True
        return smooth


class Watch(TrainerCallback):
    """Listens to TRL's trainer. `held_out` gives the held-out loss of the model as it is now."""

    def __init__(
        self, run: RunDir, recipe: Recipe, held_out: Callable[[], float | None], bar: Bar
    ) -> None:
        self.run, self.recipe, self.held_out, self.bar = run, recipe, held_out, bar
        self.alarm = Alarm(0.0, 1)
        self.measure_at: set[int] = set()
        self.last_held_out: float | None = None
        self.stopped_by_alarm = False
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # DPO's loss starts at ln 2 and means something else: the level is SFT's.
        level = self.recipe.alarm.loss_under if self.recipe.method == "sft" else 0.0
        self.alarm = Alarm(level, state.max_steps)
        count = self.recipe.train.evaluations
        self.measure_at = {round(state.max_steps * (i + 1) / count) for i in range(count)}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        record = {"step": state.global_step} | {
            key: float(value) for key, value in logs.items() if isinstance(value, (int, float))
        }
        append_jsonl(self.run.metrics, record)
        if not math.isfinite(loss):
            raise TrainingFailed(
                f"The training loss is {loss} at step {state.global_step}.",
                "Lower train.learning_rate, and look for broken rows.",
            )
        self.losses.append(loss)
        self._raise_alarm(loss, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.measure_at:
            found = self.held_out()
            if found is not None:
                self.last_held_out = found
                append_jsonl(self.run.metrics, {"step": state.global_step, "held_out_loss": found})
        note = f"loss {self.losses[-1]:.3f}" if self.losses else ""
        if self.last_held_out is not None:
            note += f", held-out {self.last_held_out:.3f}"
        self.bar.advance(1, note)

    def _raise_alarm(self, loss: float, state: Any, control: Any) -> None:
        smooth = self.alarm.feed(loss)
        if smooth is None:
            return
        stop = self.recipe.alarm.action == "stop"
        held = "" if self.last_held_out is None else f" Held-out loss: {self.last_held_out:.3f}."
        text = (
            f"Training loss {smooth:.3f} (mean of {len(self.alarm.window)} steps) is under "
            f"{self.alarm.level:g} at step {state.global_step}: it may be memorizing.{held} A rule "
            "of thumb; the held-out loss decides."
        )
        self.run.event(
            "alarm",
            text,
            name="loss_under",
            step=state.global_step,
            loss=smooth,
            held_out_loss=self.last_held_out,
            action=self.recipe.alarm.action,
        )
        console.say(f"  ALARM: {text}" + (" Training stops here." if stop else ""))
        _wandb_alert(text)
        if stop:
            self.stopped_by_alarm = True
            control.should_training_stop = True


def _wandb_alert(text: str) -> None:
    import sys

    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.run.alert(title="appliance: training loss under the level", text=text)
