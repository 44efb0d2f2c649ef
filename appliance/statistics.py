"""Intervals: Wilson for shares, bootstrap for means and differences (all 95 %).

Without SciPy, whose import alone would be most of the time of every verb that reads scores; that
they are SciPy's numbers is a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, hypot, sqrt
from typing import Any

LEVEL, NORMAL = 0.95, 1.959963984540054  # and the quantile of the normal distribution to it
RESAMPLES = 2000


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """Share of hits with its Wilson interval (Wilson 1927) and n."""
    n, z = len(hits), NORMAL
    if not n:
        return {"n": 0, "value": None, "interval": None}
    p = sum(hits) / n
    middle, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((middle + side) / (1 + z**2 / n) for side in (-half, half))
    return {"n": n, "value": p, "interval": [low if p else 0.0, high if p < 1 else 1.0]}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """Mean over items with its percentile bootstrap interval (Efron 1979) and n."""
    import numpy as np

    if not values:
        return {"n": 0, "value": None, "interval": None}
    data = np.asarray(values, dtype=float)
    if np.ptp(data) == 0:
        return {"n": len(data), "value": float(data.mean()), "interval": [float(data[0])] * 2}
    rng = np.random.default_rng(0)
    low, high = _percentiles(_means(data, rng))
    return {"n": len(data), "value": float(data.mean()), "interval": [low, high]}


def _means(data: Any, rng: Any) -> Any:
    """Of RESAMPLES draws from `data`, (RESAMPLES,)."""
    import numpy as np

    # A part at a time: a long sample's draws would not fit.
    parts = np.array_split(np.arange(RESAMPLES), max(1, len(data) * RESAMPLES // 2**22))
    drawn = (rng.integers(0, len(data), (len(part), len(data))) for part in parts)
    return np.concatenate([data[picked].mean(axis=1) for picked in drawn])


def _percentiles(drawn: Any) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def paired(before: Sequence[float | None], after: Sequence[float | None]) -> dict[str, Any]:
    """Mean of after - before over the items that were scored both times."""
    both = [a - b for b, a in zip(before, after, strict=True) if a is not None and b is not None]
    return mean(both)


def mcnemar(before: Sequence[float | None], after: Sequence[float | None]) -> float:
    """Two-sided exact p-value of McNemar's test (McNemar 1947; exact: the binomial's).

    Of items scored 0 or 1 both times only those that changed say anything; 1 where none did.
    """
    both = [(b, a) for b, a in zip(before, after, strict=True) if a is not None and b is not None]
    won = sum(a > b for b, a in both)
    lost = sum(a < b for b, a in both)
    changed = won + lost
    tail = sum(comb(changed, k) for k in range(min(won, lost) + 1))
    return min(1.0, 2 * tail / 2**changed)


def difference(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """Mean of `a` - mean of `b` of two independent samples; n is of both, `n_each` of each.

    The two-sample percentile bootstrap (Efron and Tibshirani 1993, section 8.3): each sample is
    drawn anew by itself. A sample without spread adds nothing to the interval, so shares take
    `share_difference`.
    """
    import numpy as np

    both = {"n": len(a) + len(b), "n_each": [len(a), len(b)]}
    if not a or not b:
        return both | {"value": None, "interval": None}
    rng = np.random.default_rng(0)
    drawn = [_means(np.asarray(sample, dtype=float), rng) for sample in (a, b)]
    low, high = _percentiles(drawn[0] - drawn[1])
    return both | {"value": float(np.mean(a) - np.mean(b)), "interval": [low, high]}


def share_difference(a: Sequence[bool], b: Sequence[bool]) -> dict[str, Any]:
    """Share of hits in `a` - share in `b`, as `difference`: two independent samples.

    Newcombe's hybrid score interval (Newcombe 1998, method 10), out of both Wilson intervals: it
    has a width also where all or none are hits.
    """
    first, second = share(a), share(b)
    both = {"n": len(a) + len(b), "n_each": [len(a), len(b)]}
    if not a or not b:
        return both | {"value": None, "interval": None}
    value = first["value"] - second["value"]
    below = first["value"] - first["interval"][0], second["interval"][1] - second["value"]
    above = first["interval"][1] - first["value"], second["value"] - second["interval"][0]
    return both | {"value": value, "interval": [value - hypot(*below), value + hypot(*above)]}


def nested(
    groups: Sequence[Sequence[float]], weights: Sequence[Sequence[float]] | None = None
) -> dict[str, Any]:
    """Mean over groups (seeds) of the mean over their items, with its interval, n and `groups`.

    The hierarchical percentile bootstrap (Davison and Hinkley 1997): groups are drawn, then items
    within each that was drawn. Few groups show little of what differs between groups. `weights`:
    of each item in the mean of its group.
    """
    import numpy as np

    given = weights or [[1.0] * len(values) for values in groups]
    filled = [
        (np.asarray(values, dtype=float), np.asarray(weight, dtype=float))
        for values, weight in zip(groups, given, strict=True)
        if len(values)
    ]
    items, count = sum(len(values) for values, _ in filled), len(filled)
    if not filled:
        return {"n": 0, "groups": 0, "value": None, "interval": None}
    rng = np.random.default_rng(0)
    drawn = rng.integers(count, size=(count, RESAMPLES))
    means = np.zeros(RESAMPLES)
    for slot in drawn:
        for number, (values, weight) in enumerate(filled):
            mine = slot == number
            picked = rng.integers(len(values), size=(int(mine.sum()), len(values)))
            means[mine] += np.average(values[picked], axis=1, weights=weight[picked]) / count
    value = float(np.mean([np.average(values, weights=weight) for values, weight in filled]))
    low, high = _percentiles(means)
    return {"n": items, "groups": count, "value": value, "interval": [low, high]}
