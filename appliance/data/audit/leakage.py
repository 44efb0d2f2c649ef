"""Rows that training shares with what it is measured by: held-out rows, and the probes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

import appliance
from appliance.data.audit import duplicates, text
from appliance.data.audit.findings import Hits
from appliance.data.audit.index import Edges, Texts
from appliance.data.audit.scan import Sought
from appliance.data.audit.table import Table
from appliance.data.rows import Message, Row

_BUILTIN = Path(appliance.__file__).parent / "evaluate" / "suites" / "off_task.jsonl"
_LONG = 6  # words from which a probe inside a longer prompt is the probe, and no chance


def held_out(texts: Texts, prompt_edges: Edges) -> tuple[Hits, set[int]]:
    """(held-out rows that train has too, the train rows that they are like)."""
    table = texts.table
    hits, train = Hits("leakage"), set()
    prompt = table.column("prompt")
    for part in ("valid", "test"):
        like, rows = duplicates.shared(texts, prompt_edges, part)
        train |= rows
        for row, other in like.items():
            hits.add(row, other=other, note=part)
        if len(table.of(part)):
            same = sum(bool(prompt[row] == prompt[other]) for row, other in like.items())
            hits.facts[part] = {
                "rows": len(table.of(part)), "exactly": same, "nearly": len(like) - same,
            }  # fmt: skip
    return hits, train


def probes(texts: Texts, prompt_edges: Edges, inside: Hits) -> Hits:
    """Training rows that ask what a probe asks, or hold one word for word (`inside`)."""
    table = texts.table
    hits = Hits("probe_contamination")
    _, rows = duplicates.shared(texts, prompt_edges, "probe")
    like: dict[int, int] = {}
    for a, b in prompt_edges:
        for one, two in ((a, b), (b, a)):
            if table.part[one] == 0 and table.part[two] == 3:
                like[one] = two
    for row in sorted({*rows, *(r for r in inside.rows if table.part[r] == 0)}):
        hits.add(row, other=like.get(row), note=inside.notes.get(row, ""))
    return hits


def sought(rows: list[Row]) -> Sought:
    """Patterns for the probes that are long enough to be no chance inside a longer prompt."""
    starts, found = [], []
    for row in rows:
        asked = text.words(text.asked(row))
        if len(asked) >= _LONG:
            starts.append(re.escape(text.asked(row)[:20]))
            found.append(r"\W+".join(map(re.escape, asked)))
    if not found:
        return Sought()
    return Sought(f"(?i:{'|'.join(starts)})", f"(?i:{'|'.join(found)})")


def read_probes(name: str) -> list[Row]:
    """The probes' prompts: `builtin`, or a JSONL file of `prompt` rows."""
    path = _BUILTIN if name == "builtin" else Path(name)
    rows = []
    if path.is_file():
        for line, data in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            asked = json.loads(data).get("prompt") if data.strip() else None
            if isinstance(asked, str):
                turns = (Message(role="user", content=asked), Message(role="assistant", content=""))
                rows.append(Row(turns, path.name, line))
    return rows


def counts(table: Table) -> dict[str, int]:
    return {part: int(np.sum(table.column("part") == n)) for n, part in enumerate(duplicates.OWN)}
