"""General rows beside the task's at the share that was asked for, and nothing silent about it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.data.mix import Source, general_rows, mix
from appliance.errors import DataError


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


def test_a_thousand_task_rows_with_ten_thousand_general_ones_at_75_to_25() -> None:
    rows, facts = mix(1000, [Source("general", names("g", 10_000))], 0.25, 1)
    assert len(rows) == len(set(rows)) == 333
    assert 1000 / (1000 + len(rows)) == pytest.approx(0.75, abs=0.001)
    assert facts["general"]["left_over"] == 9667


def test_sources_have_shares_of_their_own_which_are_normalized() -> None:
    sources = [Source("a", names("a", 900), 3), Source("b", names("b", 900), 1)]
    rows, facts = mix(600, sources, 0.4, 2)
    assert Counter(row[0] for row in rows) == {"a": 300, "b": 100}
    assert facts["a"]["asked_share"] == 0.75
    halves = [Counter(row[0] for row in half) for half in (rows[:200], rows[200:])]
    assert all(60 < half["a"] / 2 < 90 for half in halves)  # spread over the run, not one by one


def test_the_tokens_are_those_of_the_rows_taken() -> None:
    _, facts = mix(100, [Source("general", ["x" * 90] * 30)], 0.5, 1, len)
    assert facts["general"]["tokens"] == 9000


def test_a_small_source_keeps_its_share_and_its_repeats_are_counted() -> None:
    sources = [Source("small", names("s", 10)), Source("large", names("l", 1000))]
    rows, facts = mix(400, sources, 0.2, 1)
    count = Counter(rows)
    assert Counter(row[0] for row in rows) == {"s": 50, "l": 50}
    assert facts["small"]["repeated"] == 40
    assert {count[name] for name in names("s", 10)} == {5}  # used up before any comes again
    first = [row for row in rows if row[0] == "s"][:10]
    assert len(set(first)) == 10


def test_the_mix_is_fixed_by_its_seed() -> None:
    sources = [Source("g", names("g", 500))]
    assert mix(50, sources, 0.5, 1) == mix(50, sources, 0.5, 1)
    assert mix(50, sources, 0.5, 1) != mix(50, sources, 0.5, 2)


@pytest.mark.parametrize(
    ("sources", "share", "said"),
    [
        ([], 0.5, "no general rows"),
        ([Source("g", ["x"])], 1, "share of 1"),
        ([Source("g", ["x"])], -0.1, "share of -0.1"),
        ([Source("g", [])], 0.5, "no rows"),
        ([Source("g", ["x"], 0)], 0.5, "share of 0"),
        ([Source("g", ["x"]), Source("g", ["y"])], 0.5, "has g twice"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    sources: list[Source[str]], share: float, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        mix(10, sources, share, 1)
    assert caught.value.do


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(1, 300), st.floats(0.1, 9)), min_size=1, max_size=4),
    st.floats(0, 0.9),
)
def test_every_row_is_accounted_for(
    task: int, given_sources: list[tuple[int, float]], share: float
) -> None:
    sources = [
        Source(f"s{n}", names(f"s{n}-", size), part) for n, (size, part) in enumerate(given_sources)
    ]
    rows, facts = mix(task, sources, share, 1)
    assert len(rows) == sum(part["taken"] for part in facts.values())
    for part in facts.values():
        assert part["rows"] == part["used"] + part["left_over"]
        assert part["taken"] == part["used"] + part["repeated"]
        assert abs(part["taken"] - part["asked_share"] * len(rows)) <= 1.01
    assert len(rows) == round(general_rows(task, share))
