"""Which rows must stay on one side of a split: those with equal or near prompts."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.data.rows import Example


def near_groups(rows: Sequence[Example], least: float) -> list[int]:
    """A group number for each row; rows with equal or near prompts have the same one."""
    from appliance.data.audit.index import Texts, compare
    from appliance.data.audit.table import Table

    if not rows:
        return []
    with tempfile.TemporaryDirectory(prefix="appliance-split-") as name:
        table = Table(Path(name))
        for row in rows:
            table.add("train", row)
        table.end()
        groups, _, _ = compare(Texts(table, least), Path(name), False, lambda steps: None)
        table.close()
        # Only the first row of each prompt was compared: the others follow it.
        first: dict[int, int] = {}
        prompt = table.prompt
        return [groups.find(first.setdefault(prompt[n], n)) for n in range(len(rows))]
