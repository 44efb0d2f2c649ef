"""recipes list, show and copy."""

from __future__ import annotations

import json
from pathlib import Path

import click

from appliance.cli.group import PLAIN, load, main, with_recipe
from appliance.console import console
from appliance.errors import BadInput


@main.group(context_settings=PLAIN)
def recipes() -> None:
    """List, show and copy the shipped recipes."""


@recipes.command("list")
@click.option("--json", "as_json", is_flag=True)
def recipes_list(as_json: bool) -> None:
    """The shipped recipes, a line each."""
    from appliance.recipe import shipped_folder

    found = {}
    for path in sorted(shipped_folder().glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        found[path.stem] = first.lstrip("# ")
    if as_json:
        console.result(json.dumps(found, indent=2))
    else:
        for name, text in found.items():
            console.result(f"{name:20} {text}")


@recipes.command("show")
@click.argument("name")
@with_recipe
@click.option("--json", "as_json", is_flag=True)
def recipes_show(
    name: str, overrides: tuple[str, ...], model: str | None, data: str | None, as_json: bool
) -> None:
    """A recipe with every key resolved."""
    found = load(name, overrides, model, data)
    console.result(json.dumps(found.model_dump(mode="json"), indent=2) if as_json else found.dump())


@recipes.command("copy")
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path), default=None, required=False)
def recipes_copy(name: str, target: Path | None) -> None:
    """Copy a shipped recipe to TARGET (here, under its name, by default)."""
    from appliance.disk import write_text
    from appliance.recipe import find

    source = find(name)
    path = target or Path(source.name)
    if path.is_dir():
        path = path / source.name
    if path.exists():
        raise BadInput(f"{path} is there already.", "Name another file.")
    write_text(path, source.read_text(encoding="utf-8"))
    console.result(str(path))
