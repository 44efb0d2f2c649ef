"""Gain against what is kept, one point an arm, as SVG text that a page can hold."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from appliance.ablate.recommend import Point, by_retention, pareto, points
from appliance.home import home

INK = "#010203"  # stands for the page's own text colour, which a library cannot name
MARKS = "os^DvP*"  # seven, and six colours: no two of 42 arms look alike
# Okabe and Ito's colours that are seen on white and on black alike.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def svg(results: Mapping[str, Any]) -> str | None:
    """None where no arm was measured. Matplotlib is imported here, in a second."""
    arms = results["arms"]
    found = points(arms)
    if not found:
        return None
    # It keeps a list of the machine's fonts; what is ours goes where ours is.
    os.environ.setdefault("MPLCONFIGDIR", str(home() / "matplotlib"))
    import matplotlib
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": "ablate", "font.family": "sans-serif",
                "font.size": 11, "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK,
                "xtick.color": INK, "ytick.color": INK, "path.simplify": False}  # fmt: skip
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(9, 5.2), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, found, arms)
        kept = "retention" if by_retention(arms) else "exp(-drift), nats per token"
        axes.set_xlabel(f"kept of the base: {kept} (%)")
        axes.set_ylabel("gain on the task (percentage points)")
        figure.legend(loc="outside right upper", frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _for_a_page(file.getvalue(), "Gain against what is kept", describe(found))


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
    axes.grid(color=INK, alpha=0.12)


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


def _for_a_page(text: str, title: str, description: str) -> str:
    """Without what belongs to a file of its own; named and described; in the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0]
    head = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}" '
        f'xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(title)}" aria-describedby="plot-said"><title>{escape(title)}</title>'
        f'<desc id="plot-said">{escape(description)}</desc>'
    )
    return head + text[text.index(">") + 1 :]
