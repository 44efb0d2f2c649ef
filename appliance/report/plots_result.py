"""The plots of what training came to: before and after, and the strengths of the dial."""

from __future__ import annotations

from typing import Any

from appliance.report import shapes
from appliance.report.plots import clip, drawn
from appliance.report.read import Reading
from appliance.report.svg import BLUE, GREEN, INK, ORANGE, PINK, Chart, chart
from appliance.report.words import name_of


def result(reading: Reading) -> list[Chart]:
    return drawn(reading, (axes, dial))


def axes(reading: Reading) -> Chart | None:
    """The task, each axis and each benchmark, before and after."""
    rows = compared(reading)
    if not rows:
        return None

    def draw(figure: Any, axes: Any) -> None:
        for place, (_, before, after) in enumerate(rows):
            for found, colour, shift, filled in (
                (before, ORANGE, -0.14, "none"),
                (after, BLUE, 0.14, "full"),
            ):
                _whiskers(axes, found, place + shift, colour, filled)
        axes.plot([], [], "o", color=ORANGE, fillstyle="none", label="base")
        axes.plot([], [], "o", color=BLUE, label="tuned")
        axes.set_yticks(range(len(rows)), [clip(name) for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-3, 103)
        axes.set_xlabel("right, % (with its 95 % interval)")
        figure.legend(loc="outside upper center", ncols=2)

    told = [
        f"{name}: {_share(before)} before, {_share(after)} after" for name, before, after in rows
    ]
    said = "; ".join(told) + ". Where the bars of a line overlap widely, the two may be the same."
    return chart("axes", "What can it do now, and what could it before?", said, draw,
                 size=(5.6, 1.3 + 0.48 * len(rows)))  # fmt: skip


Compared = tuple[str, shapes.Figure, shapes.Figure]


def compared(reading: Reading) -> list[Compared]:
    """(name, before, after) of all that is scored from 0 to 1."""
    before, after = reading.before, reading.after
    if before is None or after is None:
        return []
    rows: list[Compared] = [("the task", before.task, after.task)]
    rows += [
        (name_of(axis), before.axes[axis], found)
        for axis, found in after.axes.items()
        if axis in before.axes
    ]
    for name, mine in after.benchmarks.items():
        theirs = before.benchmarks.get(name, shapes.Benchmark())
        both = [m for m in ("acc_norm", "acc", "exact_match")
                if m in mine.metrics and m in theirs.metrics]  # fmt: skip
        rows += [(name, theirs.metrics[m], mine.metrics[m]) for m in both[:1]]
    return [row for row in rows if row[1].value is not None or row[2].value is not None]


def _whiskers(axes: Any, found: shapes.Figure, place: float, colour: str, filled: str) -> None:
    if found.value is None:
        return
    low, high = found.interval or (found.value, found.value)
    reach = [[100 * max(0.0, found.value - low)], [100 * max(0.0, high - found.value)]]
    axes.errorbar([100 * found.value], [place], xerr=reach, fmt="o", color=colour, capsize=3,
                  fillstyle=filled, markersize=7, elinewidth=1.4)  # fmt: skip


def _share(found: shapes.Figure) -> str:
    return "not scored" if found.value is None else f"{found.value:.0%}"


def dial(reading: Reading) -> Chart | None:
    """Task against form kept, a point a strength; the base is strength 0."""
    if reading.dial is None or len(reading.dial.tried) < 2 or reading.before is None:
        return None
    chosen = reading.dial.chosen
    points = [
        (p.strength, p.axes["format"], p.task, p.ship)
        for p in sorted(reading.dial.tried, key=lambda p: p.strength)
        if p.axes.get("format", shapes.Figure()).value is not None and p.task.value is not None
    ]
    base = reading.before.axes.get("format"), reading.before.task
    if not points:
        return None

    def draw(figure: Any, axes: Any) -> None:
        path = [(100 * (kept.value or 0), 100 * (task.value or 0)) for _, kept, task, _ in points]
        if base[0] and base[0].value is not None and base[1].value is not None:
            path.insert(0, (100 * base[0].value, 100 * base[1].value))
            axes.plot(*path[0], "o", color=ORANGE, label="base (strength 0)")
        axes.plot(*zip(*path, strict=True), color=INK, alpha=0.35, linewidth=1)
        for strength, kept, task, ship in points:
            _cross(axes, kept, task, GREEN if ship == "yes" else PINK)
            at = (100 * (kept.value or 0), 100 * (task.value or 0))
            axes.annotate(f"{strength:g}", at, xytext=(7, 5), textcoords="offset points")
            if strength == chosen:
                axes.plot(*at, "o", color=INK, fillstyle="none", markersize=16, label="chosen")
        axes.plot([], [], "o", color=GREEN, label="passes")
        axes.plot([], [], "o", color=PINK, label="fails")
        axes.set_xlabel("kept: other prompts answered in their own form, %")
        axes.set_ylabel("task, %")
        axes.margins(0.1)
        figure.legend(loc="outside upper center", ncols=2)

    told = [
        f"{s:g}: task {_share(task)}, kept {_share(kept)}, {'passes' if ship == 'yes' else 'fails'}"
        for s, kept, task, ship in points
    ]
    how = "none passes" if chosen is None else f"chosen is {chosen:g} (ringed)"
    said = (
        f"Each point is a strength of the adapter, 1 as trained; up and to the right is better. "
        f"{'; '.join(told)}; {how}."
    )
    return chart("dial", "How strong may the adapter be?", said, draw)


def _cross(axes: Any, kept: shapes.Figure, task: shapes.Figure, colour: str) -> None:
    """A point with both its intervals."""

    def reach(found: shapes.Figure) -> list[list[float]]:
        value = found.value or 0.0
        low, high = found.interval or (value, value)
        return [[100 * max(0.0, value - low)], [100 * max(0.0, high - value)]]

    axes.errorbar(
        [100 * (kept.value or 0)], [100 * (task.value or 0)], xerr=reach(kept), yerr=reach(task),
        fmt="o", color=colour, capsize=2, elinewidth=0.8, markersize=7,
    )  # fmt: skip
