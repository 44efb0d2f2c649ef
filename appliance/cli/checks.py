"""The verbs that look before a run: doctor and audit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from appliance.cli.group import PLAIN, load, main, recipe_options
from appliance.console import console


@main.command(context_settings=PLAIN)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Under a second: no torch and no network.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as JSON on stdout.")
def doctor(run: Path | None, quick: bool, as_json: bool) -> None:
    """Say what is wrong with this machine, or where RUN stopped, why, and what to type."""
    from dataclasses import asdict

    from appliance.doctor import examine, table

    if run is None:
        lines = examine(quick)
    else:
        from appliance.doctor.run import examine as examine_run

        lines = examine_run(run)
    ok = all(line.status != "fail" for line in lines)
    facts = {"ok": ok, "lines": [asdict(line) for line in lines]}
    console.result(json.dumps(facts, indent=2) if as_json else table(lines))
    sys.exit(0 if ok else 1)


@main.command(context_settings=PLAIN)
@click.argument("data", required=False)
@recipe_options[0]
@recipe_options[1]
@click.option("--recipe", "name", metavar="RECIPE", help="A recipe; unset: sft or dpo, by DATA.")
@click.option("--test", metavar="FILE", help="data.test: held-out rows that train must not have.")
@click.option(
    "--fix",
    type=click.Path(path_type=Path),
    metavar="OUT.jsonl",
    help="Write a cleaned copy, and to OUT.aside.jsonl what is set aside.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the audit as JSON on stdout.")
def audit(
    data: str | None,
    overrides: tuple[str, ...],
    model: str | None,
    name: str | None,
    test: str | None,
    fix: Path | None,
    as_json: bool,
) -> None:
    """Say what is wrong with DATA before a GPU minute is spent (exit 3: the verdict is block)."""
    from appliance.data.audit.source import preference
    from appliance.data.audit.stage import lines, refuse
    from appliance.data.audit.verb import audit as work
    from appliance.model.count import template

    if test is not None:
        overrides = (f"data.test={test}", *overrides)
    found = load(name or "sft", overrides, model, data)
    if name is None and preference(found.data):
        found = load("dpo", overrides, model, data)
    made = work(found, found.method == "dpo", template(found.model), fix)
    if as_json:
        console.result(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        console.result("\n".join(lines(made)))
    refuse(made)
