"""Samples and splits: seeded, like prompts never on two sides, labels spread evenly."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from appliance.data.rows import Example, Row

_Any = TypeVar("_Any")
_Example = TypeVar("_Example", bound=Example)
# Up to so many different answers, none of them longer, are labels.
_LABELS, _LABEL_LENGTH = 100, 100


def sample(rows: Iterable[_Any], limit: int | None, seed: int) -> list[_Any]:
    """`limit` rows drawn over all of `rows`, in their old order; all of them without a limit.

    Holds no more than `limit` rows at a time (reservoir sampling), so a file may be huge.
    """
    if limit is None:
        return list(rows)
    draw = random.Random(seed)
    kept: list[tuple[int, _Any]] = []
    for number, row in enumerate(rows):
        if number < limit:
            kept.append((number, row))
        elif (place := draw.randrange(number + 1)) < limit:
            kept[place] = (number, row)
    kept.sort(key=lambda item: item[0])
    return [row for _, row in kept]


def prompt_key(row: Example) -> str:
    """The prompt without system message, case, white space and Unicode variants."""
    parts = [f"{m['role']}: {m['content']}" for m in row.prompt if m["role"] != "system"]
    return _plain("\n".join(parts))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def labels(rows: Sequence[Example]) -> list[str] | None:
    """The answer of each row where answers are few, short and mostly repeated; else None."""
    found = []
    seen: Counter[str] = Counter()
    for row in rows:
        if not isinstance(row, Row) or len(row.answer) > _LABEL_LENGTH:
            return None
        found.append(row.answer.strip())
        seen[found[-1]] += 1
        if len(seen) > _LABELS:
            return None
    return found if seen and len(found) >= 2 * len(seen) else None


def split(
    rows: Sequence[_Example],
    test_rows: int,
    valid_rows: int,
    seed: int,
    groups_of: Sequence[Hashable] | None = None,
) -> tuple[list[_Example], list[_Example], list[_Example]]:
    """(train, valid, test), each in the old order. Rows of one group stay on one side.

    `groups_of` names the group of each row; unset, rows of one prompt are a group.
    The counts are met where the groups of equal prompts allow it, never exceeded; something
    always stays in train, of every label where there are labels.
    """
    together: dict[Hashable, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        together[prompt_key(row) if groups_of is None else groups_of[number]].append(number)
    groups = list(together.values())
    random.Random(seed).shuffle(groups)
    named = labels(rows) or [""] * len(rows)
    test = _take(groups, test_rows, named)
    valid = _take([group for group in groups if group[0] not in test], valid_rows, named)
    away = test | valid
    train = [row for number, row in enumerate(rows) if number not in away]
    return train, [rows[n] for n in sorted(valid)], [rows[n] for n in sorted(test)]


def _take(groups: list[list[int]], wanted: int, named: Sequence[str]) -> set[int]:
    """Rows of whole groups, `wanted` of them, from every label in proportion."""
    queues: dict[str, list[list[int]]] = defaultdict(list)
    size: Counter[str] = Counter()
    for group in groups:
        label = named[group[0]]
        queues[label].append(group)
        size[label] += len(group)
    total = sum(size.values())
    taken: set[int] = set()
    shares = {label: wanted * size[label] / max(total, 1) for label in queues}
    for label, queue in queues.items():
        queue.pop()  # This group stays in train.
        room = int(shares[label])
        while room > 0 and (found := _fitting(queue, room)):
            taken.update(found)
            room -= len(found)
    # What rounding down left over: one group a label, the largest remainders first.
    order = sorted(queues, key=lambda label: int(shares[label]) - shares[label])
    full = False
    while len(taken) < wanted and not full:
        full = True
        for label in order:
            room = wanted - len(taken)
            if room > 0 and (found := _fitting(queues[label], room)):
                taken.update(found)
                full = False
    return taken


def _fitting(queue: list[list[int]], room: int) -> list[int] | None:
    """Take the last group that fits. From the end, where a list gives without moving the rest."""
    for place in range(len(queue) - 1, -1, -1):
        if len(queue[place]) <= room:
            return queue.pop(place)
    return None
