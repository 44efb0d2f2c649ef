"""Intervals: Wilson for shares, bootstrap for means and paired differences (all 95 %)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LEVEL = 0.95


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """Share of hits with its Wilson interval (Wilson 1927) and n."""
    from scipy.stats import binomtest

    if not hits:
        return {"n": 0, "value": None, "interval": None}
    found = binomtest(sum(hits), len(hits)).proportion_ci(LEVEL, method="wilson")
    return {"n": len(hits), "value": sum(hits) / len(hits), "interval": [found.low, found.high]}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """Mean over items with its percentile bootstrap interval (Efron 1979) and n."""
    import numpy as np
    from scipy.stats import bootstrap

    if not values:
        return {"n": 0, "value": None, "interval": None}
    data = np.asarray(values, dtype=float)
    if len(data) < 2 or np.ptp(data) == 0:
        only = float(data[0]) if len(data) else 0.0
        return {"n": len(data), "value": float(data.mean()), "interval": [only, only]}
    found = bootstrap(
        (data,), np.mean, confidence_level=LEVEL, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    return {"n": len(data), "value": float(data.mean()), "interval": [found.low, found.high]}


def paired(before: Sequence[float | None], after: Sequence[float | None]) -> dict[str, Any]:
    """Mean of after - before over the items that were scored both times."""
    both = [a - b for b, a in zip(before, after, strict=True) if a is not None and b is not None]
    return mean(both)
