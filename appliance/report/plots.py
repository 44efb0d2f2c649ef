"""The plots of a training: what grows while it trains. Each answers a question, or is None where
there is nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from appliance.report.read import Reading
from appliance.report.svg import BLUE, GREEN, INK, ORANGE, PINK, Chart, chart
from appliance.report.thin import Points, Series, thin

LABEL = 28  # characters of a name from data that stands beside a bar
Maker = Callable[[Reading], Chart | None]


def drawn(reading: Reading, makers: Iterable[Maker]) -> list[Chart]:
    """The plots that there is something for. One that strange numbers make impossible is none."""
    found = []
    for maker in makers:
        try:
            made = maker(reading)
        except (ArithmeticError, ValueError):
            continue
        found += [made] if made else []
    return found


def training(reading: Reading) -> list[Chart]:
    makers: list[Maker] = [losses, drift]
    if reading.recipe and reading.recipe.method == "dpo":
        from appliance.report.plots_dpo import logps, margins, right

        makers += [margins, right, logps]
    return drawn(reading, makers)


def clip(text: str, most: int = LABEL) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def line(axes: Any, points: Points, colour: str, label: str, **style: Any) -> Series:
    """A series; where it is thinned the mean of each stretch, between its least and greatest."""
    found = thin(points)
    axes.plot(found.x, found.mean, color=colour, label=label, linewidth=1.4, **style)
    if found.thinned:
        axes.fill_between(found.x, found.low, found.high, color=colour, alpha=0.2, linewidth=0)
    return found


def by_step(axes: Any) -> None:
    """Its x are steps: whole numbers."""
    axes.set_xlabel("step")
    axes.xaxis.get_major_locator().set_params(integer=True)


def task_loss(reading: Reading) -> Points:
    """Of each step the task's own loss: without what is rehearsed beside it."""
    return [
        (r["step"], r.get("task_loss", r["loss"])) for r in reading.metrics if "loss" in r
    ]  # fmt: skip


def losses(reading: Reading) -> Chart | None:
    seen, held = task_loss(reading), reading.series("held_out_loss")
    if not seen:
        return None
    recipe = reading.recipe
    level = recipe.alarm.loss_under if recipe and recipe.method == "sft" else None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, seen, BLUE, "training")
        if held:
            line(axes, held, ORANGE, "held out", marker="o", markersize=4)
        if level is not None:
            axes.axhline(level, color=INK, linestyle=":", linewidth=1, label=f"{level:g}")
        _epochs(axes, reading)
        _alarms(axes, reading, seen)
        by_step(axes)
        axes.set_ylabel("loss, nats per token" if level is not None else "loss, nats")
        axes.set_ylim(bottom=min(0, *_finite(seen, held)))
        figure.legend(loc="outside upper center", ncols=4)

    said = f"The training loss went {way(seen)}"
    said += f", the held-out loss {way(held)}" if held else "; no held-out loss was measured"
    if reading.training and reading.training.best_step and reading.training.held_out_loss:
        best = reading.training
        said += f". The adapter kept is that of step {best.best_step}, at {best.held_out_loss:.3f}"
    said += ". " + _rose(reading)
    if level is not None:
        said += f" Under the dotted line at {level:g} a model often learns rows by heart."
    return chart("losses", "Does it learn, or only memorize?", said, draw)


def _rose(reading: Reading) -> str:
    alarms = reading.alarms
    if not alarms:
        return "No alarm rose."
    told = [
        f"{(a.name or 'an alarm').replace('_', ' ')}"
        + (f" at step {a.step:g}" if a.step is not None else "")
        for a in alarms[:6]
    ]
    return f"Alarms (triangles): {', '.join(told)}{', …' if len(alarms) > 6 else ''}."


def _alarms(axes: Any, reading: Reading, points: Points) -> None:
    """A triangle at the loss of the step at which each rose."""
    known = {step: y for step, y in points if math.isfinite(y)}
    steps = [a.step for a in reading.alarms if a.step is not None]
    at = [(s, known[s]) for s in steps if s in known]
    if at:
        axes.plot(*zip(*at, strict=True), "v", color=PINK, markersize=9, label="alarm", zorder=5)


def _epochs(axes: Any, reading: Reading) -> None:
    """A line at the end of each pass over the rows."""
    passed = 1.0
    last = max((r["step"] for r in reading.metrics), default=0)
    for record in reading.metrics:
        epoch = record.get("epoch", 0.0)
        if passed > 20 or not epoch >= passed:
            continue
        if record["step"] < last:
            axes.axvline(record["step"], color=INK, alpha=0.35, linewidth=0.8)
            axes.annotate(
                f"epoch {passed:g}", (record["step"], 1), xycoords=("data", "axes fraction"),
                fontsize=9, rotation=90, va="top", ha="right",
            )  # fmt: skip
        passed = math.floor(epoch) + 1


def _finite(*series: Points) -> list[float]:
    return [y for points in series for _, y in points if math.isfinite(y)] or [0.0]


def way(points: Points) -> str:
    """`from 2.514 to 0.009`, of the first and the last tenth where there are many."""
    few = max(1, len(points) // 10) if len(points) >= 30 else 1
    first, last = thin(points[:few], 1).last, thin(points[-few:], 1).last
    return f"from {_told(first)} to {_told(last)}"


def _told(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "no number"


def drift(reading: Reading) -> Chart | None:
    points = reading.series("drift")
    if not points:
        return None
    budget = reading.recipe.alarm.drift if reading.recipe else None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, points, GREEN, "drift", marker="o", markersize=4)
        if budget is not None:
            axes.axhline(budget, color=INK, linestyle=":", linewidth=1)
        by_step(axes)
        axes.set_ylabel("KL to the base, nats per token")
        axes.set_ylim(bottom=0)

    said = (
        f"On the base's own answers it went {way(points)} nats per token away from it"
        + (f"; at the dotted line, {budget:g}, an alarm rises" if budget is not None else "")
        + ". The further away, the more of what the base could do is at risk."
    )
    return chart("drift", "How far does it move away from the base?", said, draw)
