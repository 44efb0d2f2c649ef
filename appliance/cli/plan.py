"""The verb that says what a run will need: plan."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from appliance.cli.group import PLAIN, load, main, quiet, with_recipe
from appliance.console import console
from appliance.errors import BadInput


@main.command(context_settings=PLAIN)
@click.argument("recipe", default="sft")
@with_recipe
@click.option("--gpu", metavar="CARD", help="A card, as rtx4090; unset: this machine.")
@click.option("--price", type=float, metavar="DOLLARS", help="An hour's; unset: what is typical.")
@click.option(
    "--calibrate", is_flag=True, help="Take three real steps here first, and keep what they took."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON on stdout.")
def plan(
    recipe: str,
    overrides: tuple[str, ...],
    model: str | None,
    data: str | None,
    gpu: str | None,
    price: float | None,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Say what RECIPE will need, before anything is loaded: memory, hours and money."""
    from appliance.plan import reckon

    found = load(recipe, overrides, model, data)
    if calibrate:
        if gpu:
            raise BadInput("--calibrate measures this machine, not a card by name.",
                           "Leave --gpu away, on a machine with that card.")  # fmt: skip
        quiet(Path(os.devnull))
        from appliance.plan.calibrate import calibrate as measure

        took = measure(found)
        console.say(f"  a step takes {took.time:.2f} times as long as reckoned, and "
                    f"{took.memory:.2f} times the memory: kept for later plans")  # fmt: skip
    made = reckon(found, gpu=gpu, per_hour=price)
    if as_json:
        console.result(json.dumps(made.to_json(), indent=2))
    else:
        console.result("\n".join(made.lines()))
