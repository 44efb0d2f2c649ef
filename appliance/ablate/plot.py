"""Gain against what is kept, one point an arm, as SVG text that a page can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.ablate.recommend import Point, by_retention, pareto, points
from appliance.report.svg import COLOURS, INK, Chart, chart

MARKS = "os^DvP*"  # seven, and six colours: no two of 42 arms look alike


def plot(results: Mapping[str, Any]) -> Chart | None:
    """None where no arm was measured."""
    arms = results["arms"]
    found = points(arms)
    if not found:
        return None
    kept = "retention" if by_retention(arms) else "exp(-drift), nats per token"

    def draw(figure: Any, axes: Any) -> None:
        _draw(axes, found, arms)
        axes.set_xlabel(f"kept of the base: {kept} (%)")
        axes.set_ylabel("gain on the task (percentage points)")
        figure.legend(loc="outside right upper")

    title = "Which arm gains most for what it keeps?"
    return chart("arms", title, describe(found), draw, size=(9, 5.2))


def _draw(axes: Any, found: list[Point], arms: Mapping[str, Any]) -> None:
    for number, point in enumerate(found):
        axes.errorbar(
            [100 * point.kept], [100 * point.gain],
            xerr=_reach(point.interval, point.kept),
            yerr=_reach(arms[point.name]["gain"]["interval"], point.gain),
            fmt=MARKS[number % len(MARKS)], color=COLOURS[number % len(COLOURS)],
            markersize=8, elinewidth=1, capsize=3, label=point.name,
        )  # fmt: skip
    front = sorted(pareto(found), key=lambda p: p.kept)
    axes.plot([100 * p.kept for p in front], [100 * p.gain for p in front], color=INK, alpha=0.35,
              linewidth=1, linestyle="--", zorder=0)  # fmt: skip
    axes.margins(0.08)


def _reach(interval: Sequence[float], value: float) -> list[list[float]]:
    """How far the interval reaches below and above, in percent."""
    low, high = interval
    return [[100 * max(0.0, value - low)], [100 * max(0.0, high - value)]]


def describe(found: list[Point]) -> str:
    """The plot in words, for who does not see it."""
    return " ".join(
        f"{p.name}: gain {100 * p.gain:.0f} points, {100 * p.kept:.0f} % kept."
        for p in sorted(found, key=lambda p: -p.kept)
    )
