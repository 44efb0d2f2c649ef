"""The audit as a stage of a run, and as a table on a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from appliance.errors import GateRefused

if TYPE_CHECKING:
    from appliance.data.audit.lengths import Template
    from appliance.recipe import Recipe
    from appliance.run import RunDir

Say = Callable[[str], None]
_MARKS = {"bad": "!!", "warn": "! ", "note": "- "}


def policy(recipe: Recipe) -> Any:
    """What the recipe says about the audit."""
    from appliance.data.audit.diversity import Plan
    from appliance.data.audit.run import Policy

    return Policy(
        near=recipe.audit.near,
        block=recipe.audit.block,
        plan=Plan(recipe.train.epochs, recipe.train.batch_size),
        seed=recipe.train.seed,
    )


def stage(run: RunDir, recipe: Recipe, template: Template | None, say: Say) -> None:
    """data/*.jsonl of the run -> audit.json. Raises GateRefused when the verdict is block."""
    from appliance.data.audit.leakage import read_probes
    from appliance.data.audit.run import Audit
    from appliance.data.audit.source import of_run
    from appliance.disk import write_json

    files = {"train": run.train_rows, "valid": run.valid_rows, "test": run.test_rows}
    probes = read_probes(recipe.evaluate.off_task)
    with Audit(policy(recipe), template, probes, folder=run.train_rows.parent) as audit:
        found = audit.run(of_run(files, recipe.method == "dpo"))
    write_json(run.audit, found)
    for line in lines(found):
        say(line)
    refuse(found)


def refuse(audit: Mapping[str, Any]) -> None:
    """Raises GateRefused, naming what blocks and what to do, when the verdict is block."""
    from appliance.data.audit.verdict import refusal

    if audit["verdict"] == "block":
        raise GateRefused(*refusal(audit))


def lines(audit: Mapping[str, Any]) -> list[str]:
    """The findings as one table as wide as the terminal, a line each, and the verdict."""
    width = max(80, shutil.get_terminal_size((100, 24)).columns - 2)
    rows = audit["rows"]
    parts = ", ".join(f"{rows[part]} {part}" for part in ("train", "valid", "test") if rows[part])
    unread = rows["broken"] + rows["set_aside"]
    parts += f", {unread} set aside" if unread else ""
    out = [f"audit: {rows['read']} rows read: {parts}"]
    for found in audit["findings"]:
        count = f"{found['rows']:>8,}" if found["rows"] else f"{'':>8}"
        head = f"{_MARKS[found['level']]} {found['title']:<33.33}{count}  {_first(found):<22.22}  "
        told = str(found["facts"].get("said") or found["do"])
        room = max(20, width - len(head))
        out.append(head + (told if len(told) <= room else told[: room - 1] + "…"))
    fixed = audit.get("fixed")
    if fixed:
        out.append(
            f"fixed: {fixed['kept']} rows in {fixed['copy']} ({fixed['mended']} mended), "
            f"{fixed['dropped']} exact duplicates dropped, {fixed['aside']} set aside in "
            f"{fixed['set_aside']}"
        )
    stops = f" ({', '.join(audit['blocked_by'])})" if audit["blocked_by"] else ""
    out.append(f"verdict: {audit['verdict']}{stops}, in {audit['seconds']:.1f} s")
    return out


def _first(found: Mapping[str, Any]) -> str:
    """The first line numbers; with their file where there are several."""
    several = len(found["lines"]) > 1
    said = []
    for file, numbers in found["lines"].items():
        name = file.rsplit("/", 1)[-1] + ":" if several else ""
        said.append(name + ",".join(map(str, numbers[: 1 if several else 3])))
    return ("line " if not several and said else "") + " ".join(said[:2])
