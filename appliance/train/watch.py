"""What is written, said and decided while training: metrics, alarms, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from appliance.console import Bar
from appliance.errors import TrainingFailed
from appliance.recipe import Recipe
from appliance.run import RunDir, append_jsonl
from appliance.train.alarms import NotFinite, alarms
from appliance.train.best import Best, hint
from appliance.train.finding import Alarm, Finding, Record
from appliance.train.measures import Pace, TaskLoss


@dataclass
class Measures:
    """What the watch can measure of the model as it is now; None where there is nothing to."""

    held_out: Callable[[], float | None]  # nats
    drift: Callable[[], float | None]  # nats per token
    task_loss: TaskLoss
    held_out_rows: int


class Watch(TrainerCallback):
    """Listens to TRL's trainer, which logs every step at its end.

    After training the model is the best one measured, and `facts` says so for train.json.
    """

    def __init__(self, run: RunDir, recipe: Recipe, measures: Measures, bar: Bar) -> None:
        self.run, self.recipe, self.measures, self.bar = run, recipe, measures, bar
        self.best = Best(recipe.train.patience)
        self.measure_at: set[int] = set()
        self.held_out: dict[int, float] = {}  # step -> held-out loss
        self.planned: list[float] = []
        self.drift: float | None = None
        self.losses: list[float] = []
        self.stopped_by_alarm: str | None = None
        self.stopped_early = False
        self.seconds_held_out = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        count = self.recipe.train.evaluations
        self.measure_at = {round(state.max_steps * (i + 1) / count) for i in range(count)}
        self.alarms: list[Alarm] = alarms(
            self.recipe, state.max_steps, self.measures.held_out_rows > 0
        )
        self.pace = Pace(state.max_steps)
        self.started = time.monotonic()
        self.run.event("train", "training begins", steps=state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        record = {"step": state.global_step, "epoch": state.epoch} | {
            key: float(value) for key, value in logs.items() if isinstance(value, (int, float))
        }
        task = self.measures.task_loss.take()
        if task is not None and not math.isclose(task, record["loss"], rel_tol=1e-3):
            record["task_loss"] = task
        append_jsonl(self.run.metrics, record)
        heard = record | {"loss": record.get("task_loss", record["loss"])}
        if not math.isfinite(record["loss"]):
            heard["loss"] = record["loss"]
        if args.fp16:
            heard.pop("grad_norm", None)  # its scaler finds its scale by overflowing
        self.losses.append(heard["loss"])
        self._judge(heard, control, **kwargs)
        self._measure(state, control, **kwargs)
        self.bar.advance(1, self._note())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the best adapter, and say what is to be said of the held-out loss."""
        last = state.global_step
        if self.held_out and last not in self.held_out:
            self._measure_held_out(last, planned=False, **kwargs)
        said = []
        if self.stopped_early:
            said.append(
                f"Training ended early, at step {last} of {state.max_steps}: {self.best.patience} "
                "held-out losses in a row were no better than the best."
            )
        if self.best.step not in (0, last):
            self.best.restore(kwargs["model"])
            said.append(
                f"The adapter kept is that of step {self.best.step}: its held-out loss is "
                f"{self.best.loss:.3f}, the last step's {self.held_out[last]:.3f}."
            )
        if said:
            self._note_event(" ".join(said), name="best", step=self.best.step)
        ended = not self.stopped_early and not self.stopped_by_alarm
        suggestion = hint(self.recipe, self.planned) if ended else ""
        if suggestion:
            self._note_event(suggestion, name="still_falling", step=last)

    def facts(self) -> dict[str, Any]:
        """Of the kept adapter and how training ended: for train.json."""
        return {
            "last_loss": self.losses[-1] if self.losses else None,
            "held_out_loss": self.best.loss if self.best.step else None,
            "best_step": self.best.step or None,
            "held_out_rows": self.measures.held_out_rows,
            "last_drift": self.drift,
            "stopped_early": self.stopped_early,
            "stopped_by_alarm": self.stopped_by_alarm,
            "seconds_measuring": {
                "held_out": round(self.seconds_held_out, 2),
                "drift": round(self.pace.spent, 2),
            },
        }

    def _measure(self, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        planned = step in self.measure_at
        found: dict[str, float] = {}
        if planned or any(alarm.asks for alarm in self.alarms):
            loss = self._measure_held_out(step, planned=planned, **kwargs)
            found |= {} if loss is None else {"held_out_loss": loss}
        if planned or self.pace.due(step, time.monotonic() - self.started):
            with self.pace.timed():
                drift = self.measures.drift()
            if drift is not None:
                self.drift = found["drift"] = drift
                append_jsonl(self.run.metrics, {"step": step, "drift": drift})
        if found:
            self._judge({"step": step, "epoch": state.epoch} | found, control, **kwargs)
        if self.best.over and planned and step < state.max_steps:
            self.stopped_early = control.should_training_stop = True

    def _measure_held_out(self, step: int, *, planned: bool, **kwargs: Any) -> float | None:
        started = time.monotonic()
        loss = self.measures.held_out()
        if loss is None:
            return None
        self.held_out[step] = loss
        if planned:
            self.planned.append(loss)
        append_jsonl(self.run.metrics, {"step": step, "held_out_loss": loss})
        if self.best.feed(step, loss, planned=planned):
            self.best.copy(kwargs["model"])
        self.seconds_held_out += time.monotonic() - started
        return loss

    def _note(self) -> str:
        note = f"loss {self.losses[-1]:.3f}"
        if self.held_out:
            note += f", held-out {self.held_out[max(self.held_out)]:.3f}"
        return note if self.drift is None else f"{note}, drift {self.drift:.3f}"

    def _judge(self, record: Record, control: Any, **kwargs: Any) -> None:
        for alarm in self.alarms:
            found = alarm.feed(record)
            if found is None:
                continue
            if found.rises:
                self._raise_alarm(found, record, control, **kwargs)
            else:
                self._note_event(found.text, name=found.name, step=record["step"], **found.numbers)

    def _raise_alarm(self, found: Finding, record: Record, control: Any, **kwargs: Any) -> None:
        levels, fatal = self.recipe.alarm, found.name == NotFinite.name
        action = "warn"
        if fatal or found.name in levels.stop:
            action, done = "stop", " Training stops here."
        elif found.name in levels.lower_rate:
            action, done = "lower_rate", " The learning rate is halved."
            halve(kwargs["optimizer"], kwargs["lr_scheduler"])
        else:
            done = ""
        numbers = {k: v if math.isfinite(v) else str(v) for k, v in found.numbers.items()}
        facts = {"name": found.name, "step": record["step"], **numbers, "action": action}
        self.run.event("alarm", found.text, **facts)
        _wandb_alert(found)
        if fatal:
            raise TrainingFailed(found.text, "Lower train.learning_rate, and look for broken rows.")
        # That epochs are many was warned of before anything began.
        if not (found.name == "epochs" and self.recipe.train.epochs > 3 and action == "warn"):
            self.bar.say(f"  ALARM: {found.text}{done}")
        if action == "stop":
            self.stopped_by_alarm = self.stopped_by_alarm or found.name
            control.should_training_stop = True

    def _note_event(self, text: str, **facts: Any) -> None:
        self.run.event("note", text, **facts)
        self.bar.say(f"  note: {text}")


def halve(optimizer: Any, scheduler: Any) -> None:
    """Half the learning rate from the next step on; the schedule goes on at half its height."""
    scheduler.base_lrs = [rate / 2 for rate in scheduler.base_lrs]
    for group in optimizer.param_groups:
        group["lr"] /= 2
    # What is logged as the rate is the scheduler's copy.
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]


def _wandb_alert(found: Finding) -> None:
    import sys

    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.run.alert(title=f"appliance: {found.name}", text=found.text)
