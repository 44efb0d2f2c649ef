"""Rows that stand twice: exactly, nearly, or by their prompt alone; and what the parts share."""

from __future__ import annotations

import numpy as np

from appliance.data.audit.findings import Hits
from appliance.data.audit.index import Edges, Texts, groups_of
from appliance.data.audit.near import Numbers
from appliance.data.audit.table import PARTS, Table

OWN = ("train", "valid", "test")


def exact(table: Table) -> Hits:
    """Rows that are the same as an earlier one of their part."""
    hits = Hits("exact_duplicates")
    found = [
        (int(row), int(group[0]))
        for part in OWN
        for group in groups_of(table, "exact", (part,))
        for row in group[1:]
    ]
    for row, first in sorted(found):
        hits.add(row, other=first)
    return hits


def near(texts: Texts, exactly: Hits, prompt_edges: Edges, row_edges: Edges) -> Hits:
    """Rows that say what an earlier one of their part says, in other words or signs."""
    table, hits = texts.table, Hits("near_duplicates")
    part, prompt, same = table.column("part"), table.column("prompt"), set(exactly.rows)
    found: dict[int, int] = {}
    for a, b in (*row_edges, *prompt_edges):
        one, two = min(a, b), max(a, b)
        if part[one] == part[two] and two not in found and texts.same_answer(one, two):
            found[two] = one
    for name in OWN:
        for group in groups_of(table, "prompt", (name,)):
            first = int(group[0])
            for row in map(int, group[1:]):
                if row not in same and row not in found and texts.same_answer(first, row):
                    found[row] = first
    for row in sorted(found):
        if row not in same:
            hits.add(row, other=found[row])
    hits.facts["of them with the very same prompt"] = sum(
        bool(prompt[row] == prompt[other]) for row, other in found.items()
    )
    return hits


def prompts(table: Table, prompt_edges: Edges) -> Hits:
    """Rows whose prompt stood in an earlier row of their part, exactly or nearly."""
    hits = Hits("repeated_prompts")
    part = table.column("part")
    found: dict[int, int] = {}
    for name in OWN:
        for group in groups_of(table, "prompt", (name,)):
            found.update((int(row), int(group[0])) for row in group[1:])
    hits.facts["exactly"] = len(found)
    for a, b in prompt_edges:
        if part[a] == part[b]:
            found.setdefault(max(a, b), min(a, b))
    hits.facts["nearly"] = len(found) - hits.facts["exactly"]
    for row in sorted(found):
        hits.add(row, other=found[row])
    return hits


def shared(texts: Texts, prompt_edges: Edges, part: str) -> tuple[dict[int, int], set[int]]:
    """(rows of `part` with the train row each is like, all such train rows)."""
    table = texts.table
    prompt = table.column("prompt")
    train, others = table.of("train"), table.of(part)
    like = _lookup(prompt[train], train, prompt[others], others)
    train_side = set(_lookup(prompt[others], others, prompt[train], train))
    number = PARTS.index(part)
    # An edge joins the first rows of two prompts; their repetitions share the prompt.
    near_prompts: dict[int, int] = {}
    near_train: dict[int, int] = {}
    for a, b in prompt_edges:
        for one, two in ((a, b), (b, a)):
            if table.part[one] == 0 and table.part[two] == number and _shared(texts, one, two):
                near_prompts.setdefault(int(prompt[two]), one)
                near_train.setdefault(int(prompt[one]), two)
    if near_prompts:
        keys = np.fromiter(near_prompts, np.uint64)
        for row in others[np.isin(prompt[others], keys)]:
            like.setdefault(int(row), near_prompts[int(prompt[row])])
        keys = np.fromiter(near_train, np.uint64)
        train_side.update(map(int, train[np.isin(prompt[train], keys)]))
    return dict(sorted(like.items())), train_side


def _shared(texts: Texts, one: int, two: int) -> bool:
    """`when will it arrive` and `when will it expire` are near, and not the same question."""
    return texts.same_question(one, two) or texts.same_answer(one, two)


def _lookup(
    keys: np.ndarray, rows: Numbers, wanted_keys: np.ndarray, wanted: Numbers
) -> dict[int, int]:
    """For each wanted row whose key is among `keys`: the first row that has it."""
    if not len(keys) or not len(wanted_keys):
        return {}
    order = np.argsort(keys, kind="stable")
    place = np.searchsorted(keys[order], wanted_keys)
    place[place == len(keys)] = 0
    same = keys[order][place] == wanted_keys
    return dict(zip(wanted[same].tolist(), rows[order[place[same]]].tolist(), strict=True))
