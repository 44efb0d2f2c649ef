"""The plots that only a training on preference pairs has."""

from __future__ import annotations

from typing import Any

from appliance.report.plots import by_step, line, way
from appliance.report.read import Reading
from appliance.report.svg import BLUE, GREEN, INK, ORANGE, Chart, chart


def margins(reading: Reading) -> Chart | None:
    points = reading.series("rewards/margins")
    if not points:
        return None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, points, BLUE, "margin")
        axes.axhline(0, color=INK, linewidth=0.8)
        by_step(axes)
        axes.set_ylabel("reward margin")

    said = (
        f"The margin of the chosen over the rejected answers went {way(points)}. It should rise "
        "above 0 and level off; one that explodes tears the model away from its base."
    )
    return chart("margins", "Does it tell chosen from rejected?", said, draw)


def right(reading: Reading) -> Chart | None:
    points = reading.series("rewards/accuracies")
    if not points:
        return None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, [(x, 100 * y) for x, y in points], GREEN, "right")
        axes.axhline(50, color=INK, linestyle=":", linewidth=1)
        axes.set_ylim(-3, 103)
        by_step(axes)
        axes.set_ylabel("pairs that are right, %")

    said = (
        f"The share of the training pairs whose chosen answer gained more went {way(points)}; "
        "by chance it is 0.5 (dotted)."
    )
    return chart("accuracies", "How many pairs are right?", said, draw)


def logps(reading: Reading) -> Chart | None:
    chosen, rejected = reading.series("logps/chosen"), reading.series("logps/rejected")
    if not chosen or not rejected:
        return None

    def draw(figure: Any, axes: Any) -> None:
        line(axes, chosen, BLUE, "chosen")
        line(axes, rejected, ORANGE, "rejected")
        by_step(axes)
        axes.set_ylabel("log-probability, nats per answer")
        figure.legend(loc="outside upper center", ncols=2)

    said = (
        f"The chosen answers' log-probability went {way(chosen)}, the rejected ones' "
        f"{way(rejected)}. Where both fall far, the model unlearns both."
    )
    return chart("logps", "Do the chosen answers stay likely?", said, draw)
