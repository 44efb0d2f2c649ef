"""What is written, said and decided while training: metrics, alarms, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from appliance.console import Bar
from appliance.disk import read_log, write_jsonl
from appliance.errors import TrainingFailed
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.train import processes
from appliance.train.alarms import NotFinite, alarms
from appliance.train.best import Best, hint
from appliance.train.finding import Alarm, Finding, Record
from appliance.train.live import Live
from appliance.train.measures import Pace, TaskLoss, peak_memory

BEST = "best.safetensors"  # in a checkpoint: the best weights so far


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
        self.live = Live(run)
        self.seconds_before = 0.0  # of this training, before it was stopped and begun again

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        count = self.recipe.train.evaluations
        self.measure_at = {round(state.max_steps * (i + 1) / count) for i in range(count)}
        self.alarms: list[Alarm] = alarms(
            self.recipe, state.max_steps, self.measures.held_out_rows > 0
        )
        self.pace = Pace(state.max_steps)
        self.measures.task_loss.take()  # what a step that did not come to its end had added
        self.started = time.monotonic()
        begun = state.global_step
        self._replay(begun, args.fp16)
        self.bar.go_on(begun)
        what = f"training goes on after step {begun}" if begun else "training begins"
        self.run.event("train", what, steps=state.max_steps, begun=begun)

    def _replay(self, last: int, fp16: bool) -> None:
        """Be as after step `last`, by the metrics until then; what rose before rises no more."""
        if not last:
            if self.run.writes:
                self.run.metrics.unlink(missing_ok=True)
            return
        records = [r for r in read_log(self.run.metrics) if r["step"] <= last]
        if self.run.writes:
            write_jsonl(self.run.metrics, records)
        for step, group in groupby(records, key=lambda r: r["step"]):
            found: dict[str, float] = {}
            for record in group:
                if "loss" in record:
                    self.seconds_before = record.get("seconds", 0.0)
                    self._feed(heard(record, fp16))
                    self.losses.append(heard(record, fp16)["loss"])
                    continue
                found |= record
                if "held_out_loss" in record:
                    self._remember(step, record["held_out_loss"], step in self.measure_at)
            self.drift = found.get("drift", self.drift)
            if found:
                self._feed(found | {"planned": step in self.measure_at})

    def _feed(self, record: Record) -> list[Finding]:
        return [found for alarm in self.alarms if (found := alarm.feed(record)) is not None]

    def _remember(self, step: int, loss: float, planned: bool) -> bool:
        """Is this held-out loss the best so far?"""
        self.held_out[step] = loss
        if planned:
            self.planned.append(loss)
        return self.best.feed(step, loss, planned=planned)

    def save(self, folder: Path) -> None:
        """Into a checkpoint: what cannot be had from the metrics."""
        self.best.save(folder / BEST)

    def load(self, folder: Path) -> None:
        self.best.load(folder / BEST)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        record = {"step": state.global_step, "epoch": state.epoch} | {
            key: float(value) for key, value in logs.items() if isinstance(value, (int, float))
        }
        task = processes.mean(self.measures.task_loss.take())
        if task is not None and not math.isclose(task, record["loss"], rel_tol=1e-3):
            record["task_loss"] = task
        elapsed = time.monotonic() - self.started
        record |= {
            "seconds": round(self.seconds_before + elapsed, 2),
            "memory_gib": peak_memory(),
        }
        self.run.metric(record)
        told = heard(record, args.fp16)
        self.losses.append(told["loss"])
        self._judge(told, control, **kwargs)
        self._measure(state, control, **kwargs)
        self.bar.advance(1, self._note())
        planned = state.global_step in self.measure_at
        self.live.step(state.global_step, state.max_steps, elapsed, planned=planned)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the best adapter, and say what is to be said of the held-out loss.

        Not where training was stopped from outside: it goes on later.
        """
        last = state.global_step
        if not self.over(state):
            return
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

    def over(self, state: Any) -> bool:
        """Has training come to its end, of whatever kind?"""
        ended = self.stopped_early or self.stopped_by_alarm is not None
        return ended or state.global_step >= state.max_steps

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
                "report": round(self.live.spent, 2),
            },
        }

    def _measure(self, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        planned = step in self.measure_at
        found: dict[str, float] = {}
        if planned or any(alarm.asks for alarm in self.alarms):
            loss = self._measure_held_out(step, planned=planned, **kwargs)
            found |= {} if loss is None else {"held_out_loss": loss}
        elapsed = time.monotonic() - self.started
        if planned or processes.first_says(lambda: self.pace.due(step, elapsed)):
            with self.pace.timed():
                drift = processes.of_first(self.measures.drift)
            if drift is not None:
                self.drift = found["drift"] = drift
                self.run.metric({"step": step, "drift": drift})
        if found:
            found |= {"step": step, "epoch": state.epoch, "planned": planned}
            self._judge(found, control, **kwargs)
        if self.best.over and planned and step < state.max_steps:
            self.stopped_early = control.should_training_stop = True

    def _measure_held_out(self, step: int, *, planned: bool, **kwargs: Any) -> float | None:
        started = time.monotonic()
        loss = processes.of_first(self.measures.held_out)
        if loss is None:
            return None
        self.run.metric({"step": step, "held_out_loss": loss})
        if self._remember(step, loss, planned):
            self.best.copy(kwargs["model"])
        self.seconds_held_out += time.monotonic() - started
        return loss

    def _note(self) -> str:
        note = f"loss {self.losses[-1]:.3f}"
        if self.held_out:
            note += f", held-out {self.held_out[max(self.held_out)]:.3f}"
        return note if self.drift is None else f"{note}, drift {self.drift:.3f}"

    def _judge(self, record: Record, control: Any, **kwargs: Any) -> None:
        for found in self._feed(record):
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


def heard(record: Record, fp16: bool) -> Record:
    """What the alarms are told of a step's record: the task's own loss."""
    told = dict(record) | {"loss": record.get("task_loss", record["loss"])}
    if not math.isfinite(record["loss"]):
        told["loss"] = record["loss"]
    if fp16:
        told.pop("grad_norm", None)  # its scaler finds its scale by overflowing
    return told


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
