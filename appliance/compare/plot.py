"""Every difference with its interval, one line a measure and run: what is on one side of 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.report.svg import COLOURS, INK, Chart, chart

MARKS = "os^DvP*"
LINE = 0.24  # inches of height for one interval
LABEL = 30  # characters of a name


def plots(results: Mapping[str, Any]) -> list[Chart]:
    """Of shares and of nats, which have no common scale; none where nothing was compared."""
    first = results["first"]
    found = [
        _plot(
            results, "points", "Which shares differ, and for sure?",
            ("share", "change"), 100.0, f"less {first} (percentage points)",
        ),
        _plot(
            results, "nats", "Which distances differ, and for sure?",
            ("nats",), 1.0, f"less {first} (nats per token)",
        ),
    ]  # fmt: skip
    return [made for made in found if made]


def _plot(
    results: Mapping[str, Any],
    name: str,
    title: str,
    units: tuple[str, ...],
    scale: float,
    label: str,
) -> Chart | None:
    less: Mapping[str, list[Mapping[str, Any]]] = results["less_first"]
    drawn = [
        (run, number, d)
        for number, (run, apart) in enumerate(less.items())
        for d in apart
        if d["unit"] in units and d["value"] is not None
    ]
    measures = list(dict.fromkeys(d["measure"] for _, _, d in drawn))[::-1]
    if not drawn:
        return None

    def draw(figure: Any, axes: Any) -> None:
        seen: set[str] = set()
        for run, number, d in drawn:
            height = measures.index(d["measure"]) + 0.6 * (0.5 - (number + 0.5) / len(less))
            low, high = d["interval"]
            value = d["value"]
            axes.errorbar(
                [scale * value], [height],
                xerr=[[scale * max(0.0, value - low)], [scale * max(0.0, high - value)]],
                fmt=MARKS[number % len(MARKS)], color=COLOURS[number % len(COLOURS)],
                markersize=5, elinewidth=1.2, capsize=2,
                label="_" if run in seen else _clip(run),
            )  # fmt: skip
            seen.add(run)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(measures)), [_clip(m + _arrow(drawn, m)) for m in measures])
        axes.set_ylim(-0.6, len(measures) - 0.4)
        axes.set_xlabel(label)
        if len(less) > 1:
            figure.legend(loc="outside upper center", ncols=2)

    said = (
        "Each line is a 95 % interval; one that crosses 0 may be chance. ▲: more is better, "
        "▼: less is better."
    )
    height = 1.1 + LINE * len(measures) * max(1.4, len(less)) + 0.2 * (len(less) > 1) * len(less)
    return chart(name, title, said, draw, (5.6, height))


def _arrow(drawn: list[tuple[str, int, Mapping[str, Any]]], measure: str) -> str:
    better = next(d["better"] for _, _, d in drawn if d["measure"] == measure)
    return " ▲" if better == "more" else " ▼"


def _clip(text: str) -> str:
    return text if len(text) <= LABEL else f"{text[: LABEL - 3]}…{text[-2:]}"
