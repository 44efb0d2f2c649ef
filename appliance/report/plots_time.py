"""What a run took: speed and memory over the steps, time and money by stage."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

from appliance.console import span
from appliance.report.plots import by_step, drawn, line
from appliance.report.read import Reading
from appliance.report.svg import BLUE, COLOURS, GREEN, Chart, chart
from appliance.report.thin import Points


def resources(reading: Reading) -> list[Chart]:
    return drawn(reading, (speed, memory, stages))


def speed(reading: Reading) -> Chart | None:
    """Tokens a second by the clock of metrics.jsonl; steps a minute where it counts no tokens.

    What is measured between the steps is in it.
    """
    records = [r for r in reading.metrics if "seconds" in r]
    counted = "num_tokens" in records[-1] if records else False
    key, times, unit = ("num_tokens", 1, "tokens a second") if counted else (
        "step", 60, "steps a minute"
    )  # fmt: skip
    marks = [r for r in records if key in r]
    marks = marks[:: max(1, len(marks) // 60)]
    points: Points = [
        (new["step"], times * (new[key] - old[key]) / (new["seconds"] - old["seconds"]))
        for old, new in pairwise(marks)
        if new["seconds"] > old["seconds"] and new[key] > old[key]
    ]
    if not points:
        return None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, points, BLUE, "speed")
        axes.set_ylim(bottom=0)
        by_step(axes)
        axes.set_ylabel(unit)

    said = f"About {median(y for _, y in points):.3g} {unit}, as a rule"
    found = reading.training
    if found and found.tokens_per_second is not None:
        said += f"; over the whole training {found.tokens_per_second:.4g} tokens a second"
    said += ". Dips are where held-out loss and drift were measured, or other work ran beside it."
    return chart("speed", "How fast did it go?", said, draw)


def memory(reading: Reading) -> Chart | None:
    points = reading.series("memory_gib")
    if not points:
        return None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, points, GREEN, "memory")
        axes.set_ylim(bottom=0)
        by_step(axes)
        axes.set_ylabel("peak memory, GiB")

    peak = max(y for _, y in points)
    said = (
        f"Up to {peak:.3g} GiB until then: of the graphics card's memory where there is one, else "
        "of this process. What has to fit."
    )
    return chart("memory", "How much memory did it take?", said, draw)


def stages(reading: Reading) -> Chart | None:
    """Where the time went, and with a price the money."""
    seconds = {name: took for name, took in reading.seconds.items() if took > 0}
    if not seconds:
        return None
    price = reading.price

    def draw(figure: Any, axes: Any) -> None:
        done = 0.0
        for number, took in enumerate(seconds.values()):
            axes.barh([number], [took / 60], left=[done / 60], height=0.7,
                      color=COLOURS[number % len(COLOURS)])  # fmt: skip
            done += took
        axes.set_yticks(range(len(seconds)), list(seconds))
        axes.set_ylim(len(seconds) - 0.5, -0.5)
        axes.set_xlabel("minutes since the beginning")
        if price:
            top = axes.secondary_xaxis(
                "top", functions=(lambda m: m / 60 * price.per_hour,
                                  lambda c: c * 60 / price.per_hour)
            )  # fmt: skip
            top.set_xlabel(f"money, {price.currency}")

    whole = sum(seconds.values())
    said = f"{span(whole)} in all: "
    said += ", ".join(f"{name} {span(took)}" for name, took in seconds.items()) + "."
    if price:
        said += f" At {price.per_hour:g} {price.currency} an hour ({price.source}) that is "
        said += f"{whole / 3600 * price.per_hour:.2f} {price.currency}."
    else:
        said += " What an hour costs is not known; `train --price` says it."
    return chart("time", "Where did the time and the money go?", said, draw,
                 size=(5.6, 1.3 + 0.28 * len(seconds)))  # fmt: skip
