"""From findings to a verdict: ok, warn or block. The recipe says which findings block."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def verdict(findings: Sequence[Mapping[str, Any]], block: Collection[str]) -> tuple[str, list[str]]:
    """(ok, warn or block; the kinds that block). Notes alone leave it ok."""
    stops = [f["kind"] for f in findings if f["kind"] in block]
    if stops:
        return "block", stops
    return ("warn" if any(f["level"] != "note" for f in findings) else "ok"), []


def refusal(audit: Mapping[str, Any]) -> tuple[str, str]:
    """(what blocks, what to do) in a sentence each."""
    said = []
    do = []
    for finding in audit["findings"]:
        if finding["kind"] in audit["blocked_by"]:
            file, lines = next(iter(finding["lines"].items()), ("", []))
            where = f" (first: {file}:{lines[0]})" if lines else ""
            said.append(f"{finding['title']}: {finding['rows']}{where}")
            do.append(finding["do"])
    kinds = ", ".join(audit["blocked_by"])
    left = ",".join(kind for kind in audit["blocks"] if kind not in audit["blocked_by"])
    return (
        f"The audit blocks this data: {'; '.join(said)}.",
        f"{' '.join(dict.fromkeys(do))} `appliance audit DATA --fix OUT.jsonl` writes a cleaned "
        f"copy; to train all the same, take {kinds} out of audit.block "
        f"(--set audit.block=[{left}]).",
    )
