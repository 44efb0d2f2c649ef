"""Files with strange values in them give a page all the same, and none of them is markup."""

from __future__ import annotations

import json
import math
import random
import shutil
from typing import Any

import pytest
from report_runs import whole

from appliance.report.numbers import numbers
from appliance.report.page import render
from appliance.report.read import read
from appliance.report.thin import thin
from appliance.run import RunDir

STRANGE = (None, -1, 0, 1e308, -1e308, float("nan"), float("inf"), "", "<b>x</b>", "$\\frac{$", [],
           {}, True, 10**30, "a" * 5000, [1, 2], "\x00\x1b[31m", 0.5)  # fmt: skip


def spoiled(value: Any, draw: random.Random, share: float) -> Any:
    """`value` with a share of what is in it replaced by something strange."""
    if draw.random() < share:
        return draw.choice(STRANGE)
    if isinstance(value, dict):
        return {key: spoiled(inner, draw, share) for key, inner in value.items()}
    if isinstance(value, list):
        return [spoiled(inner, draw, share) for inner in value]
    return value


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("whole") / "run", kept=0.3, chosen=0.4, steps=40)


@pytest.mark.parametrize("seed", range(8))
def test_strange_values_give_a_page(run, tmp_path, seed):
    draw = random.Random(seed)
    copy = tmp_path / "run"
    shutil.copytree(run.root, copy)
    for path in sorted(copy.rglob("*.json*")):
        lines = path.suffix == ".jsonl"
        text = path.read_text()
        made = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
        made = [spoiled(m, draw, 0.02) for m in made] if lines else spoiled(made, draw, 0.01)
        path.write_text("".join(json.dumps(m) + "\n" for m in made) if lines else json.dumps(made))
    reading = read(RunDir(copy))
    page = render(reading)
    assert "<b>x" not in page
    json.loads(json.dumps(numbers(reading), allow_nan=False))


def test_a_series_is_thinned_and_not_cut():
    points = [(step, float(step % 1000 == 777)) for step in range(1, 100_001)]
    found = thin(points)
    assert len(found.x) == 300
    assert found.x[-1] == 100_000
    assert found.thinned
    assert max(found.high) == 1  # what stands out is still seen
    assert min(found.low) == 0
    assert math.isclose(sum(found.mean) / 300, 0.001, rel_tol=0.01)


def test_a_short_series_stays_as_it_is_and_what_is_no_number_is_a_gap():
    found = thin([(1, 2.0), (2, math.nan), (3, 4.0)])
    assert (found.x, found.thinned) == ([1, 2, 3], False)
    assert found.mean[0] == 2
    assert math.isnan(found.mean[1])
    assert thin([]).x == []
