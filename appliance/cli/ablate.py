"""The verb that measures remedies against each other: ablate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.group import PLAIN, main, overriding, quiet, with_recipe
from appliance.console import console
from appliance.errors import BadInput

if TYPE_CHECKING:
    from appliance.ablate.folder import Folder, Plan


@main.command(context_settings=PLAIN)
@click.argument("recipe", default="sft")
@click.option("--arms", default="plain,rehearsal,kl,rehearsal+kl", show_default=True,
              metavar="NAME,NAME", help="Arms by name, or `list` to see them.")  # fmt: skip
@click.option("--arm", "written", multiple=True, metavar="NAME:KEY=VALUE,...",
              help="One more arm: the recipe with these keys. Again for more.")  # fmt: skip
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1),
              help="How many, from train.seed upwards.")  # fmt: skip
@with_recipe
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Where it goes; unset: runs/ablate-RECIPE.")  # fmt: skip
@click.option("--force", is_flag=True, help="Go on in a DIR that another plan made.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
def ablate(
    recipe: str,
    arms: str,
    written: tuple[str, ...],
    seeds: int,
    overrides: tuple[str, ...],
    model: str | None,
    data: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train RECIPE through several arms and say which remedy keeps what for what price."""
    from appliance.ablate.arms import ARMS, choose
    from appliance.ablate.folder import Folder, Plan

    if arms == "list":
        known = {name: arm.text for name, arm in ARMS.items()}
        lines = [f"{name:16} {text}" for name, text in known.items()]
        console.result(json.dumps(known, indent=2) if as_json else "\n".join(lines))
        return
    names = [name.strip() for name in arms.split(",") if name.strip()]
    plan = Plan.of(recipe, overriding(overrides, model, data), choose(names, written), seeds)
    folder = Folder(out or Path("runs") / f"ablate-{Path(recipe).stem}")
    results = _work(folder, plan, force)
    if as_json:
        console.result(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        from appliance.ablate.table import text

        console.result(text(results))
        for path in filter(Path.is_file, (folder.page, folder.recommended)):
            console.say(f"  {path}")
    sys.exit(1 if any(arm["failed"] for arm in results["arms"].values()) else 0)


def _work(folder: Folder, plan: Plan, force: bool) -> dict[str, Any]:
    from appliance.ablate.work import clean, work

    fresh = not folder.root.exists()
    try:
        with folder.lock():
            folder.create(plan, force)
            quiet(folder.log)
            return work(folder, plan)
    except BadInput:
        if fresh:
            clean(folder, plan)
        raise
