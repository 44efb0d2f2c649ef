"""Findings as they are written and shown: lines, examples with secrets masked, why and what."""

from __future__ import annotations

from typing import Any

from appliance.data.audit import text
from appliance.data.audit.findings import EXAMPLES, KINDS, LINES, Hits
from appliance.data.audit.secrets import mask
from appliance.data.audit.table import PARTS, Table
from appliance.data.rows import Pair

ORDER = {"bad": 0, "warn": 1, "note": 2}


def finding(table: Table, hits: Hits, total: int) -> dict[str, Any]:
    """One finding as JSON. `lines` are the first thousand; `rows` counts all."""
    kind = KINDS[hits.kind]
    lines: dict[str, list[int]] = {}
    for row in hits.rows[:LINES]:
        file, line = table.where(row)
        lines.setdefault(file, []).append(line)
    parts = dict.fromkeys(PARTS, 0)
    for row in hits.rows:
        parts[PARTS[table.part[row]]] += 1
    return {
        "kind": hits.kind,
        "title": kind.title,
        "level": kind.level,
        "rows": len(hits.rows),
        "share": round(len(hits.rows) / max(total, 1), 4),
        "parts": {part: count for part, count in parts.items() if count},
        "lines": lines,
        "examples": [_example(table, hits, row) for row in hits.rows[:EXAMPLES]],
        "facts": hits.facts,
        "why": kind.why,
        "do": kind.do,
    }


def _example(table: Table, hits: Hits, row: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"where": _where(table, row), **_texts(table, row)}
    if row in hits.notes:
        shown["note"] = hits.notes[row]
    other = hits.other.get(row)
    if other is not None:
        shown["like"] = {"where": _where(table, other), **_texts(table, other)}
    return shown


def _where(table: Table, row: int) -> str:
    file, line = table.where(row)
    return f"{file}:{line}"


def _texts(table: Table, row: int) -> dict[str, str]:
    found = table.row(row)
    shown = {"prompt": _shown(text.asked(found)), "answer": _shown(text.answer(found))}
    if isinstance(found, Pair):
        shown["rejected"] = _shown(text.said(found, "rejected"))
    return shown


def _shown(said: str) -> str:
    return text.clip(mask(said[:4000]), 200)


def unread(kind: str, rows: list[tuple[str, int, str]], count: int, total: int) -> dict[str, Any]:
    """A finding of rows that never became examples: (file, line, reason) of the first ones."""
    about = KINDS[kind]
    lines: dict[str, list[int]] = {}
    reasons: dict[str, int] = {}
    for file, line, reason in rows:
        lines.setdefault(file, []).append(line)
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "kind": kind,
        "title": about.title,
        "level": about.level,
        "rows": count,
        "share": round(count / max(total, 1), 4),
        "parts": {},
        "lines": lines,
        "examples": [
            {"where": f"{file}:{line}", "note": reason} for file, line, reason in rows[:EXAMPLES]
        ],
        "facts": {"reasons": dict(sorted(reasons.items(), key=lambda i: -i[1])[:10])},
        "why": about.why,
        "do": about.do,
    }


def ordered(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Worst first, as KINDS has them."""
    place = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda f: (ORDER[f["level"]], place[f["kind"]]))


def joined(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One finding a kind: rows that were refused when read, and rows found later."""
    kinds: dict[str, dict[str, Any]] = {}
    for found in findings:
        first = kinds.setdefault(found["kind"], found)
        if first is not found:
            first["rows"] += found["rows"]
            first["share"] = round(first["share"] + found["share"], 4)
            first["examples"] = (first["examples"] + found["examples"])[:EXAMPLES]
            for file, lines in found["lines"].items():
                first["lines"][file] = sorted({*first["lines"].get(file, []), *lines})
    return list(kinds.values())
