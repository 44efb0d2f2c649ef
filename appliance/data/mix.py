"""General rows beside the task's, at the share that was asked for; what came of it is said.

A source has its share of the general rows. One with fewer rows than its share is taken again from
the start, and that is counted: nothing is repeated or left over in silence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, TypeVar

from appliance.errors import DataError

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Source(Generic[Kind]):
    """General rows, and their share among the general rows (any positive weight)."""

    name: str
    rows: Sequence[Kind]
    share: float = 1.0


def general_rows(task_rows: int, share_of_rows: float) -> Fraction:
    """How many general rows make `share_of_rows` of all: 1,000 task rows at 0.25 take 333 1/3."""
    share = Fraction(str(share_of_rows))
    if not 0 <= share < 1:
        raise DataError(f"A share of {share_of_rows} is none.", "Give one from 0 to 0.9.")
    return task_rows * share / (1 - share)


def mix(
    task_rows: int,
    sources: Sequence[Source[Kind]],
    share_of_rows: float,
    seed: int,
    tokens: Callable[[Kind], int] = lambda row: 0,
) -> tuple[list[Kind], dict[str, Any]]:
    """(general rows in the order in which they are taken, facts of each source).

    A source is used up before any row of it comes again. Raises DataError: no sources, one
    without rows or share, two of one name, a share outside 0 to 1.
    """
    _check(sources)
    counts = _counts(sources, round(general_rows(task_rows, share_of_rows)))
    draw = random.Random(seed)
    turns = {s.name: _passes(s.rows, counts[s.name], draw) for s in sources}
    facts = {
        s.name: {
            "asked_share": s.share / sum(other.share for other in sources),
            "rows": len(s.rows),
            "taken": counts[s.name],
            "used": min(counts[s.name], len(s.rows)),
            "left_over": max(0, len(s.rows) - counts[s.name]),
            "repeated": max(0, counts[s.name] - len(s.rows)),
            "tokens": sum(tokens(row) for row in turns[s.name]),
        }
        for s in sources
    }
    # Spread over the run: which source is next is shuffled, each keeps its own order.
    order = [name for name, count in counts.items() for _ in range(count)]
    draw.shuffle(order)
    left = {name: iter(rows) for name, rows in turns.items()}
    return [next(left[name]) for name in order], facts


def _passes(rows: Sequence[Kind], count: int, draw: random.Random) -> list[Kind]:
    out: list[Kind] = []
    while len(out) < count:
        out += draw.sample(list(rows), min(len(rows), count - len(out)))
    return out


def _counts(sources: Sequence[Source[Any]], total: int) -> Mapping[str, int]:
    """`total` rows by share, the largest remainders rounded up."""
    weight = sum(Fraction(str(s.share)) for s in sources)
    exact = {s.name: total * Fraction(str(s.share)) / weight for s in sources}
    counts = {name: int(part) for name, part in exact.items()}
    order = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in order[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _check(sources: Sequence[Source[Any]]) -> None:
    if not sources:
        raise DataError("There are no general rows to mix in.", "Name a source, or share 0.")
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"rehearsal.sources has {twice} twice.", "Name each source once.")
    for source in sources:
        if not source.share > 0 or not source.rows:
            what = "no rows" if not source.rows else f"a share of {source.share}"
            raise DataError(f"The source {source.name} has {what}.", "Leave it out, or mend it.")
