"""What real steps on this machine took, kept in the cache for the plans to come."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.disk import read_json, write_json
from appliance.errors import RunError
from appliance.home import home
from appliance.plan.time import Machine
from appliance.recipe import Recipe
from appliance.sizing.shape import Shape

VERSION = 3  # of what is reckoned: raised when a formula changes, so that no old factor is used


@dataclass(frozen=True)
class Measured:
    """Of a training step: seconds, and bytes, as measured over those reckoned; and when."""

    time: float
    memory: float
    date: str


def _path(shape: Shape, recipe: Recipe, machine: Machine) -> Path:
    """One file for each model, precision, kind of adapter and machine."""
    device = machine.card.name if machine.card else f"{machine.cores} cores, {machine.flags}"
    facts = [VERSION, asdict(shape), recipe.method, recipe.model.bits, recipe.adapter.kind, device]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    return home() / "plan" / f"{digest}.json"


def known(shape: Shape, recipe: Recipe, machine: Machine) -> Measured | None:
    path = _path(shape, recipe, machine)
    if not path.is_file():
        return None
    try:
        return Measured(**read_json(path))
    except (RunError, TypeError):  # damaged: as if nothing had been measured
        return None


def keep(found: Measured, shape: Shape, recipe: Recipe, machine: Machine) -> None:
    """Raises NoSpace, RunError."""
    write_json(_path(shape, recipe, machine), asdict(found))
