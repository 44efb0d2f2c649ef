"""What only preference pairs can have: both orders, and a better answer that is merely longer."""

from __future__ import annotations

from typing import Any

import numpy as np

from appliance.data.audit.findings import Hits
from appliance.data.audit.table import Table
from appliance.data.rows import Pair

SAMPLE, LEAN = 5000, 0.6
_MIX = np.uint64(0x9E3779B97F4A7C15)


def both_orders(table: Table) -> Hits:
    """Pairs that stand once this way and once the other way round."""
    hits = Hits("both_orders")
    rows = table.of("train", "valid", "test")
    asked, chosen, rejected = (
        table.column(name)[rows].astype(np.uint64) for name in ("asked", "answer", "rejected")
    )
    there = (asked * _MIX + chosen) * _MIX + rejected
    back = (asked * _MIX + rejected) * _MIX + chosen
    place: dict[int, int] = {}
    for number in np.flatnonzero(np.isin(back, there) & (chosen != rejected)):
        place[int(there[number])] = int(rows[number])
        hits.add(int(rows[number]))
    for row in hits.rows:
        hits.other[row] = place[int(back[int(np.searchsorted(rows, row))])]
    return hits


def length_bias(table: Table, seed: int) -> tuple[dict[str, Any] | None, Hits]:
    """How much longer the chosen answer is, in words, with intervals."""
    from appliance.statistics import mean, share

    hits = Hits("length_bias")
    rows = table.of("train")
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
    differences = []
    for number in rows.tolist():
        row = table.row(number)
        if isinstance(row, Pair):
            chosen, rejected = (
                sum(len(m["content"].split()) for m in turns)
                for turns in (row.chosen, row.rejected)
            )
            differences.append(chosen - rejected)
    if len(differences) < 8:
        return None, hits
    unequal = [d > 0 for d in differences if d]
    facts = {"words": mean(differences), "chosen_longer": share(unequal)}
    part = facts["chosen_longer"]
    if part["value"] is not None:
        low, high = part["interval"]
        lean = max(part["value"], 1 - part["value"])
        if (low > 0.5 or high < 0.5) and lean >= LEAN:
            side = "longer" if low > 0.5 else "shorter"
            hits.facts = {
                "said": f"chosen is {side} in {lean:.0%} of the pairs, by "
                f"{abs(facts['words']['value']):.1f} words on average "
                f"[{facts['words']['interval'][0]:.1f} to {facts['words']['interval'][1]:.1f}]"
            }
    return facts, hits
