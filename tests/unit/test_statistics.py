"""Intervals and p-values are those that SciPy gives."""

from __future__ import annotations

import random

import numpy as np
import pytest

from appliance import statistics


@pytest.fixture(scope="module")
def stats():
    from scipy import stats as found  # a second, of one test process only

    return found


@pytest.mark.parametrize("n", [1, 2, 7, 90, 3000])
@pytest.mark.parametrize("right", [0.0, 0.3, 1.0])
def test_a_share_has_wilson_s_interval(stats, n, right):
    hits = [i < round(n * right) for i in range(n)]
    expected = stats.binomtest(sum(hits), n).proportion_ci(0.95, method="wilson")
    assert statistics.share(hits)["interval"] == pytest.approx([expected.low, expected.high])


@pytest.mark.parametrize("n", [2, 30, 700])
def test_a_mean_has_the_interval_of_the_percentile_bootstrap(stats, n):
    draw = random.Random(n)
    values = [draw.gauss(1, 2) for _ in range(n)]
    expected = stats.bootstrap(
        (np.asarray(values),), np.mean, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    found = statistics.mean(values)
    assert found["interval"] == pytest.approx([expected.low, expected.high])
    assert found["value"] == pytest.approx(np.mean(values))


def test_a_long_sample_is_drawn_in_parts():
    values = np.random.default_rng(1).normal(size=20_000)
    low, high = statistics.mean(list(values))["interval"]
    width = 2 * 1.96 * values.std() / len(values) ** 0.5
    assert high - low == pytest.approx(width, rel=0.1)


def test_one_value_and_equal_ones_have_no_width():
    assert statistics.mean([]) == {"n": 0, "value": None, "interval": None}
    assert statistics.mean([2.0])["interval"] == [2.0, 2.0]
    assert statistics.mean([2.0] * 9)["interval"] == [2.0, 2.0]


@pytest.mark.parametrize(("won", "lost"), [(0, 1), (3, 3), (1, 9), (40, 60), (700, 500), (5, 4)])
def test_mcnemar_is_the_exact_two_sided_binomial_test(stats, won, lost):
    before = [0.0] * won + [1.0] * lost + [1.0, None]
    after = [1.0] * won + [0.0] * lost + [1.0, 1.0]
    expected = stats.binomtest(lost, won + lost).pvalue
    assert statistics.mcnemar(before, after) == pytest.approx(expected)
    assert statistics.mcnemar([1.0], [1.0]) == 1.0


def test_two_samples_differ_by_the_bootstrap_of_each(stats):
    draw = random.Random(0)
    a, b = [draw.gauss(3, 1) for _ in range(60)], [draw.gauss(1, 1) for _ in range(200)]
    expected = stats.bootstrap(
        (np.asarray(a), np.asarray(b)), lambda x, y, axis: np.mean(x, axis) - np.mean(y, axis),
        n_resamples=9999, method="percentile", rng=0,
    ).confidence_interval  # fmt: skip
    found = statistics.difference(a, b)
    assert found["interval"] == pytest.approx([expected.low, expected.high], abs=0.03)
    assert found["n_each"] == [60, 200]
