"""The verb that says what a run will need: plan."""

from __future__ import annotations

import json

import click

from appliance.cli.group import PLAIN, load, main, with_recipe
from appliance.console import console


@main.command(context_settings=PLAIN)
@click.argument("recipe", default="sft")
@with_recipe
@click.option("--gpu", metavar="CARD", help="A card, as rtx4090; unset: this machine.")
@click.option("--price", type=float, metavar="DOLLARS", help="An hour's; unset: what is typical.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON on stdout.")
def plan(
    recipe: str,
    overrides: tuple[str, ...],
    model: str | None,
    data: str | None,
    gpu: str | None,
    price: float | None,
    as_json: bool,
) -> None:
    """Say what RECIPE will need, before anything is loaded: memory, hours and money."""
    from appliance.plan import reckon

    made = reckon(load(recipe, overrides, model, data), gpu=gpu, per_hour=price)
    if as_json:
        console.result(json.dumps(made.to_json(), indent=2))
    else:
        console.result("\n".join(made.lines()))
