"""Task rows and general rows at the share that was asked for, and nothing silent about it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.data.mix import Source, mix
from appliance.errors import DataError


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


def accounted(facts: dict[str, Any]) -> None:
    for part in facts["sources"].values():
        assert part["rows"] == part["used"] + part["left_over"]
    assert facts["rows"] == sum(p["used"] + p["repeated"] for p in facts["sources"].values())


def test_a_thousand_task_rows_with_ten_thousand_general_ones_at_75_to_25() -> None:
    rows, facts = mix(names("t", 1000), [Source("general", names("g", 10_000))], 0.75, 1)
    count = Counter(row[0] for row in rows)
    assert count == {"t": 1000, "g": 333}
    assert facts["sources"]["task"]["share_of_rows"] == pytest.approx(0.75, abs=0.001)
    assert facts["sources"]["general"]["share_of_rows"] == pytest.approx(0.25, abs=0.001)
    assert facts["sources"]["general"]["left_over"] == 9667
    assert len(set(rows)) == len(rows)
    accounted(facts)


def test_four_of_five_rows_are_the_tasks_unless_said_otherwise() -> None:
    rows, facts = mix(names("t", 800), [Source("general", names("g", 500))])
    assert Counter(row[0] for row in rows) == {"t": 800, "g": 200}
    assert facts["share_of_rows"] == 0.8


def test_sources_have_shares_of_their_own_which_are_normalized() -> None:
    sources = [Source("a", names("a", 900), 3), Source("b", names("b", 900), 1)]
    rows, facts = mix(names("t", 600), sources, 0.6, 2)
    assert Counter(row[0] for row in rows) == {"t": 600, "a": 300, "b": 100}
    assert facts["sources"]["a"]["asked_share"] == pytest.approx(0.3)


def test_the_share_of_tokens_is_what_the_rows_come_to() -> None:
    general = Source("general", ["x" * 90] * 100)
    _, facts = mix(["t" * 10] * 100, [general], 0.5, 1, tokens=len)
    assert facts["sources"]["task"]["share_of_rows"] == 0.5
    assert facts["sources"]["task"]["share_of_tokens"] == pytest.approx(0.1)
    assert facts["sources"]["general"]["tokens"] == 9000


def test_a_small_source_gives_all_it_has_and_the_others_the_rest() -> None:
    sources = [Source("small", names("s", 10)), Source("large", names("l", 1000))]
    rows, facts = mix(names("t", 400), sources, 0.8, 1)
    assert Counter(row[0] for row in rows) == {"t": 400, "s": 10, "l": 90}
    assert facts["sources"]["small"]["repeated"] == 0
    accounted(facts)


def test_too_few_general_rows_leave_task_rows_over_and_say_so() -> None:
    rows, facts = mix(names("t", 1000), [Source("general", names("g", 50))], 0.75, 1)
    assert Counter(row[0] for row in rows) == {"t": 150, "g": 50}
    assert facts["sources"]["task"]["left_over"] == 850
    accounted(facts)


def test_rows_are_repeated_only_when_asked_and_counted() -> None:
    sources = [Source("general", names("g", 50))]
    rows, facts = mix(names("t", 1000), sources, 0.75, 1, repeat=True)
    assert Counter(row[0] for row in rows) == {"t": 1000, "g": 333}
    assert facts["sources"]["general"]["repeated"] == 283
    assert max(Counter(rows).values()) == 7
    accounted(facts)


def test_the_mix_is_fixed_by_its_seed() -> None:
    task, sources = names("t", 50), [Source("general", names("g", 500))]
    assert mix(task, sources, 0.5, 1) == mix(task, sources, 0.5, 1)
    assert mix(task, sources, 0.5, 1) != mix(task, sources, 0.5, 2)


@pytest.mark.parametrize(
    ("task", "sources", "share", "said"),
    [
        ([], [Source("g", ["x"])], 0.5, "no task rows"),
        (["t"], [], 0.5, "no general rows"),
        (["t"], [Source("g", ["x"])], 0, "no share"),
        (["t"], [Source("g", ["x"])], 1.2, "no share"),
        (["t"], [Source("g", [])], 0.5, "no rows"),
        (["t"], [Source("g", ["x"], 0)], 0.5, "share of 0"),
        (["t"], [Source("g", ["x"]), Source("g", ["y"])], 0.5, "the name g"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    task: list[str], sources: list[Source[str]], share: float, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        mix(task, sources, share)
    assert caught.value.do


@settings(max_examples=100, deadline=None)
@example(1, [(1, 1.0)], 1.0, False)  # a share of 1 asks the sources for nothing
@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(1, 300), st.floats(0.1, 9)), min_size=1, max_size=4),
    st.floats(0.05, 1),
    st.booleans(),
)
def test_every_row_is_accounted_for(
    task: int, given_sources: list[tuple[int, float]], share: float, repeat: bool
) -> None:
    sources = [
        Source(f"s{n}", names(f"s{n}-", size), part) for n, (size, part) in enumerate(given_sources)
    ]
    rows, facts = mix(names("t", task), sources, share, 1, repeat=repeat)
    accounted(facts)
    assert len(rows) == facts["rows"]
    if not repeat:
        assert len(set(rows)) == len(rows)
    off = abs(facts["sources"]["task"]["share_of_rows"] - share) * facts["rows"]
    assert off <= 1.01
