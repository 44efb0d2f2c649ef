"""Long series made short enough to draw: every stretch of them stays, none is cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MOST = 300  # points of a series: as many as a plot of a telephone's width has pixels
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """Of each stretch its last x, and the mean, least and greatest of its y; NaN where it has none.

    `thinned`: a stretch is more than one point.
    """

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    thinned: bool

    @property
    def last(self) -> float:
        return self.mean[-1] if self.mean else math.nan


def thin(points: Points, most: int = MOST) -> Series:
    """At most `most` stretches of like many points."""
    count = min(len(points), most)
    ends = [round(len(points) * n / count) for n in range(count + 1)] if count else [0]
    series = Series([], [], [], [], len(points) > most)
    for begin, end in pairwise(ends):
        values = [y for _, y in points[begin:end] if math.isfinite(y)]
        series.x.append(points[end - 1][0])
        series.mean.append(sum(values) / len(values) if values else math.nan)
        series.low.append(min(values, default=math.nan))
        series.high.append(max(values, default=math.nan))
    return series
