"""General rows mixed with task rows at a stated share of rows; what came of it is said.

No row is repeated unless that is asked for, and none is left out without being counted. A source
with too few rows for its share gives all it has, and the other sources give the rest. Where all
of them together are too few, task rows are left over, so that the task's share is kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, TypeVar

from appliance.errors import DataError

Kind = TypeVar("Kind")
TASK, DEFAULT = "task", 0.8


@dataclass(frozen=True)
class Source(Generic[Kind]):
    """General rows, and their share among the general rows (any positive weight)."""

    name: str
    rows: Sequence[Kind]
    share: float = 1.0


def mix(
    task: Sequence[Kind],
    sources: Sequence[Source[Kind]],
    share_of_rows: float = DEFAULT,
    seed: int = 3407,
    *,
    repeat: bool = False,
    tokens: Callable[[Kind], int] | None = None,
) -> tuple[list[Kind], dict[str, Any]]:
    """(rows in random order, facts). `share_of_rows` is the task's: 0.8 is four task rows of five.

    With `repeat` the rows of a source that is too small are taken again, and counted. Raises
    DataError.
    """
    _check(task, sources, share_of_rows)
    own = Fraction(str(share_of_rows))
    weight = sum((Fraction(str(source.share)) for source in sources), Fraction(0))
    wanted = {TASK: own}
    wanted |= {s.name: (1 - own) * Fraction(str(s.share)) / weight for s in sources}
    have: dict[str, Sequence[Kind]] = {TASK: task, **{s.name: s.rows for s in sources}}
    total = len(task) / own
    if not repeat and own < 1:
        total = min(total, sum(len(source.rows) for source in sources) / (1 - own))
    counts = {TASK: min(len(task), round(own * total))}
    counts |= _counts(
        {source.name: wanted[source.name] for source in sources},
        {source.name: None if repeat else len(source.rows) for source in sources},
        round((1 - own) * total),
    )
    draw = random.Random(seed)
    mixed: list[Kind] = []
    facts: dict[str, Any] = {}
    for name, count in counts.items():
        rows = have[name]
        picked = [row for _ in range(count // len(rows)) for row in rows] if rows else []
        picked += draw.sample(list(rows), count - len(picked))
        mixed += picked
        facts[name] = {
            "asked_share": float(wanted[name]),
            "rows": len(rows),
            "used": min(count, len(rows)),
            "left_over": max(0, len(rows) - count),
            "repeated": max(0, count - len(rows)),
            "share_of_rows": count / max(sum(counts.values()), 1),
        }
        if tokens is not None:
            facts[name]["tokens"] = sum(tokens(row) for row in picked)
    if tokens is not None:
        every = sum(part["tokens"] for part in facts.values())
        for part in facts.values():
            part["share_of_tokens"] = part["tokens"] / max(every, 1)
    draw.shuffle(mixed)
    return mixed, {"share_of_rows": share_of_rows, "rows": len(mixed), "seed": seed,
                   "sources": facts}  # fmt: skip


def _counts(
    wanted: Mapping[str, Fraction], most: Mapping[str, int | None], total: int
) -> dict[str, int]:
    """`total` rows by share, the largest remainders rounded up; none over its most."""
    if not total:
        return dict.fromkeys(wanted, 0)
    counts: dict[str, int] = {}
    free = dict(wanted)
    while free:
        left, weight = total - sum(counts.values()), sum(free.values())
        full = {
            name: limit
            for name, share in free.items()
            if (limit := most[name]) is not None and left * share / weight >= limit
        }
        if not full:
            exact = {name: left * share / weight for name, share in free.items()}
            counts |= {name: int(part) for name, part in exact.items()}
            order = sorted(exact, key=lambda name: int(exact[name]) - exact[name])
            for name in order[: total - sum(counts.values())]:
                counts[name] += 1
            break
        counts |= full
        free = {name: share for name, share in free.items() if name not in full}
    return {name: counts[name] for name in wanted}


def _check(task: Sequence[Any], sources: Sequence[Source[Any]], share: float) -> None:
    if not 0 < share <= 1:
        raise DataError(f"A share_of_rows of {share} is no share.", "Give one over 0, up to 1.")
    if not task:
        raise DataError("There are no task rows to mix.", "Give data with rows.")
    if share < 1 and not sources:
        raise DataError("There are no general rows to mix in.", "Name a source, or share 1.")
    names = [TASK, *(source.name for source in sources)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"Two sources have the name {twice}.", "Give each its own name.")
    for source in sources:
        if not source.share > 0 or not source.rows:
            what = "no rows" if not source.rows else f"a share of {source.share}"
            raise DataError(f"The source {source.name} has {what}.", "Leave it out, or mend it.")
