"""The same or nearly the same prompt with different answers."""

from __future__ import annotations

from appliance.data.audit.duplicates import OWN
from appliance.data.audit.findings import Hits
from appliance.data.audit.index import Edges, Texts, groups_of
from appliance.data.rows import Row

# Of a prompt with hundreds of answers so many are compared.
_MOST = 20


def exact(texts: Texts) -> Hits:
    """Rows that share prompt and system message with one whose answer differs."""
    table, hits = texts.table, Hits("contradictions")
    answer = table.column("answer")
    found: dict[int, int] = {}
    groups = 0
    for group in groups_of(table, "asked", OWN):
        firsts: dict[int, int] = {}
        for row in map(int, group):
            firsts.setdefault(int(answer[row]), row)
        different = _different(texts, list(firsts.values())[:_MOST])
        if len(different) > 1:
            groups += 1
            for row in map(int, group):
                other = next(r for r in different if answer[r] != answer[row])
                found[row] = other
    for row in sorted(found):
        hits.add(row, other=found[row])
    hits.facts["prompts"] = groups
    return hits


def _different(texts: Texts, rows: list[int]) -> list[int]:
    """Those of the rows that say something new. Pairs have no answer that could be wrong."""
    if len(rows) < 2 or not isinstance(texts.table.row(rows[0]), Row):
        return []
    new = rows[:1]
    for row in rows[1:]:
        if not any(texts.same_answer(row, other) for other in new):
            new.append(row)
    return new


def near(texts: Texts, prompt_edges: Edges) -> Hits:
    """Both rows of each pair of near prompts that ask the same and are answered differently."""
    table, hits = texts.table, Hits("near_contradictions")
    own = set(range(len(OWN)))
    asked = table.column("asked")
    found: dict[int, int] = {}
    pairs = 0
    for a, b in prompt_edges:
        if {table.part[a], table.part[b]} <= own and asked[a] != asked[b]:
            if not isinstance(table.row(a), Row):
                break
            if texts.same_question(a, b) and not texts.same_answer(a, b):
                pairs += 1
                found.setdefault(a, b)
                found.setdefault(b, a)
    for row in sorted(found):
        hits.add(row, other=found[row])
    hits.facts["pairs"] = pairs
    return hits
