"""What a run took: speed and memory over the steps, time and money by stage."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from appliance.console import span
from appliance.report.plots import drawn, line
from appliance.report.read import Reading
from appliance.report.svg import BLUE, COLOURS, GREEN, Chart, chart
from appliance.report.thin import Points


def resources(reading: Reading) -> list[Chart]:
    return drawn(reading, (speed, memory, stages))


def speed(reading: Reading) -> Chart | None:
    """Steps a minute, by the clock of metrics.jsonl: what is measured between them is in it."""
    clock = [(r["step"], r["seconds"]) for r in reading.metrics if "seconds" in r]
    if len(clock) < 2:
        return None
    every = max(1, len(clock) // 60)
    marks = clock[::every]
    points: Points = [
        (step, 60 * (step - before) / (now - then))
        for (before, then), (step, now) in pairwise(marks)
        if now > then and step > before
    ]
    if not points:
        return None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, points, BLUE, "speed")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.set_ylabel("steps a minute")

    steps, seconds = clock[-1][0] - clock[0][0], clock[-1][1] - clock[0][1]
    said = f"On the average {60 * steps / seconds:.3g} steps a minute"
    found = reading.training
    if found and found.tokens_per_second is not None:
        said += f", {found.tokens_per_second:.4g} tokens of the task a second"
    said += ". Dips are where held-out loss and drift were measured, or other work ran beside it."
    return chart("speed", "How fast did it go?", said, draw)


def memory(reading: Reading) -> Chart | None:
    points = reading.series("memory_gib")
    if not points:
        return None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, points, GREEN, "memory")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
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
        said += f" At {price.per_hour:g} {price.currency} an hour that is "
        said += f"{whole / 3600 * price.per_hour:.2f} {price.currency}."
    else:
        said += " No price of an hour was recorded, so what it cost is not said."
    return chart("time", "Where did the time and the money go?", said, draw,
                 size=(5.6, 1.3 + 0.28 * len(seconds)))  # fmt: skip
