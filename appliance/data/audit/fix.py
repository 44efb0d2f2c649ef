"""A cleaned copy of the training rows: the input is read again, and never touched.

Every row read is in the copy, in the second file with the reason, or dropped as an exact
duplicate of a row that is in the copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from appliance.data.audit.encodings import fault, mended
from appliance.data.audit.run import Audit, Broken
from appliance.data.audit.source import item
from appliance.data.files import Raw
from appliance.data.forms import Form, SetAside
from appliance.data.read import Located, read_located
from appliance.disk import writer
from appliance.errors import BadInput

# What no program can put right, in the order in which a row's reason is chosen.
UNFIXABLE = (
    "secrets", "control_tokens", "probe_contamination", "contradictions", "both_orders",
    "same_pair",
)  # fmt: skip


def second(out: Path) -> Path:
    """Where the rows go that are set aside: clean.jsonl -> clean.aside.jsonl."""
    return out.with_name(f"{out.name.removesuffix('.jsonl')}.aside.jsonl")


def check(out: Path, located: Located) -> None:
    """Refuse to write over anything. Raises BadInput."""
    if out.suffix != ".jsonl":
        raise BadInput(f"--fix {out} does not end in .jsonl.", "Name a file such as clean.jsonl.")
    for path in (out, second(out)):
        if path.exists() or path.resolve() in {file.resolve() for file in located.files}:
            raise BadInput(f"{path} is there already.", "Name another file for --fix.")


def fix(
    audit: Audit, located: Located, form: Form, system: str | None, out: Path
) -> dict[str, Any]:
    """Write the copy and the second file; say how many rows went where."""
    fates = _fates(audit)
    counts = {"read": 0, "kept": 0, "mended": 0, "dropped": 0, "aside": 0}
    with ExitStack() as stack:
        keep, aside = (stack.enter_context(writer(path)) for path in (out, second(out)))
        for number, raw in enumerate(read_located(located)):
            counts["read"] += 1
            fields, reason = _judged(raw, fates.get(number, ""), form, system)
            if reason == "exact_duplicates":
                counts["dropped"] += 1
            elif reason:
                counts["aside"] += 1
                aside(_line({"file": raw.file, "line": raw.line, "reason": reason, "row": fields}))
            else:
                counts["kept"] += 1
                counts["mended"] += fields is not raw.fields
                keep(_line(fields))
    return {**counts, "copy": str(out), "set_aside": str(second(out))}


def _fates(audit: Audit) -> dict[int, str]:
    """Why a row of train leaves, by its number in the source."""
    table = audit.table
    fates: dict[int, str] = {}
    for row in sorted(audit.leaked):
        fates[table.ordinal[row]] = "leakage"
    for kind in ("exact_duplicates", *reversed(UNFIXABLE)):
        for row in audit.hits[kind].rows:
            if table.part[row] == 0:
                fates[table.ordinal[row]] = kind
    return fates


def _judged(raw: Raw, fate: str, form: Form, system: str | None) -> tuple[dict[str, Any], str]:
    """(the fields, mended where that helps; why the row leaves, or '')."""
    made = item(raw, form, system)
    if isinstance(made, (SetAside, Broken)):
        return raw.fields, made.reason
    if fate:
        return raw.fields, fate
    if not any(map(fault, _strings(raw.fields))):
        return raw.fields, ""
    fields = mended(raw.fields)
    if any(map(fault, _strings(fields))):
        return raw.fields, "broken_encoding"
    return fields, ""


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _line(fields: dict[str, Any]) -> str:
    # Parquet has dates and bytes, which JSON has not.
    return json.dumps(fields, ensure_ascii=False, default=str) + "\n"
