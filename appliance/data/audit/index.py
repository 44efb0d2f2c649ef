"""The second pass: which prompts, and which whole rows, are near one another."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from appliance.data.audit import near, text
from appliance.data.audit.boilerplate import Hashes, flatten, learn, strip
from appliance.data.audit.table import Table

BATCH, SAMPLE = 2048, 20_000
Edges = list[tuple[int, int]]
Advance = Callable[[int], None]


class Texts:
    """Words of the rows of a table, without the boilerplate that many prompts share."""

    def __init__(self, table: Table, least: float) -> None:
        self.table, self.least = table, least
        own = table.of("train", "valid", "test").tolist()
        picked = own if len(own) <= SAMPLE else sorted(random.Random(1).sample(own, SAMPLE))
        seen: Counter[str] = Counter()
        prompts = []
        for number in picked:
            prompts.append(text.words(text.asked(table.row(number))))
            seen.update(set(prompts[-1]))
        self.common = learn(prompts)
        # Words seen once in the sample weigh as much as those never seen: no need to keep them.
        self._seen = {word: count for word, count in seen.items() if count > 1}
        self._size = len(prompts)
        self.prompt = lru_cache(4096)(self._prompt)
        self.answer = lru_cache(4096)(lambda number: text.answer(table.row(number)))

    def _prompt(self, number: int) -> list[str]:
        return strip(text.words(text.asked(self.table.row(number))), self.common)

    def whole(self, number: int) -> list[str]:
        return [*self.prompt(number), *text.words(self.answer(number))]

    def near_prompts(self, a: int, b: int) -> bool:
        return text.near(self.prompt(a), self.prompt(b), self.least)

    def near_rows(self, a: int, b: int) -> bool:
        return text.near(self.whole(a), self.whole(b), self.least) and self.same_answer(a, b)

    def same_answer(self, a: int, b: int) -> bool:
        return text.same_answer(self.answer(a), self.answer(b), self.least)

    def same_question(self, a: int, b: int) -> bool:
        """Near also where rare words weigh more, and with the same numbers and system message.

        `capital of France` and `capital of Spain` are near, and no two ways to ask one thing.
        """
        one, two = self.prompt(a), self.prompt(b)
        if text.numbers(one) != text.numbers(two):
            return False
        both, either = set(one) & set(two), set(one) | set(two)
        if sum(map(self._weight, both)) < self.least * sum(map(self._weight, either)):
            return False
        return text.system(self.table.row(a)) == text.system(self.table.row(b))

    def _weight(self, word: str) -> float:
        return math.log((self._size + 1) / (self._seen.get(word, 1) + 0.5)) + 0.1


def compare(
    texts: Texts, folder: Path, whole: bool, advance: Advance
) -> tuple[near.Groups, Edges, Edges]:
    """(groups of near prompts, near prompts, near rows). `advance` gets 2 for each row in all."""
    table = texts.table
    prompts = near.Index(folder, "prompt")
    rows = near.Index(folder, "row") if whole else None
    for first in range(0, len(table), BATCH):
        last = min(first + BATCH, len(table))
        _add(prompts, rows, texts, first, last)
        advance(last - first)
    prompts.end()
    part = table.column("part")
    step = [0]

    def band() -> None:
        step[0] += 1
        total = near.BANDS * (1 + whole)
        advance(len(table) * step[0] // total - len(table) * (step[0] - 1) // total)

    groups, found = near.edges(
        prompts, firsts(table, "prompt"), len(table), texts.near_prompts, part, band
    )
    if rows is None:
        return groups, found, []
    rows.end()
    _, same = near.edges(rows, firsts(table, "exact"), len(table), texts.near_rows, part, band)
    return groups, found, same


def _add(prompts: near.Index, rows: near.Index | None, texts: Texts, first: int, last: int) -> None:
    asked, said = [], []
    for row in texts.table.rows(first, last):
        asked.append(text.words(text.asked(row)))
        if rows is not None:
            said.append(text.words(text.answer(row)))
    flat, sizes = near.stripped(*flatten(asked), texts.common)
    prompts.add(flat, sizes)
    if rows is not None:
        rows.add(*_joined(flat, sizes, *flatten(said)))


def _joined(
    flat: Hashes, sizes: near.Numbers, more: Hashes, more_sizes: near.Numbers
) -> tuple[Hashes, near.Numbers]:
    """Each prompt followed by its answer."""
    whole = sizes + more_sizes
    out = np.empty(len(flat) + len(more), np.uint64)
    row = np.repeat(np.arange(len(whole)), whole)
    begins = np.concatenate([[0], np.cumsum(whole)[:-1]])
    asked = np.arange(len(out)) - begins[row] < sizes[row]
    out[asked], out[~asked] = flat, more
    return out, whole


def firsts(table: Table, column: str) -> near.Numbers:
    """The first row of each different value in each part, in order."""
    keys = table.column(column)
    order = np.lexsort((np.arange(len(keys)), keys, table.column("part")))
    part, keys = table.column("part")[order], keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]) | (part[1:] != part[:-1])
    return np.sort(order[new])


def groups_of(table: Table, column: str, parts: Sequence[str]) -> list[near.Numbers]:
    """Rows of these parts that share a value, group by group, each in order."""
    rows = table.of(*parts)
    keys = table.column(column)[rows]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    cuts = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    sizes = np.diff(np.concatenate([[0], cuts, [len(keys)]])) if len(keys) else np.empty(0, int)
    begins = np.concatenate([[0], cuts])
    return [
        rows[order[b : b + s]] for b, s in zip(begins[sizes > 1], sizes[sizes > 1], strict=True)
    ]
