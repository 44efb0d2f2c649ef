"""What a recipe will do, before any model is loaded: `train --dry-run`."""

from __future__ import annotations

from typing import Any

from appliance.pipeline import STAGES
from appliance.recipe import Recipe


def plan(recipe: Recipe) -> dict[str, Any]:
    """Rows, steps and what is written. Reads the data, raises DataError; loads no model."""
    from appliance.data.prepare import prepare

    said: list[str] = []
    prepared = prepare(
        recipe.data, preference=recipe.method == "dpo", seed=recipe.train.seed, say=said.append
    )
    rows = len(prepared.train) + _canary_rows(recipe)
    steps = recipe.steps(rows)
    lines = [
        *said,
        f"{recipe.method} of {recipe.model.name} in {recipe.model.bits} bit, "
        f"{_trained(recipe)}, learning rate {recipe.train.learning_rate:g}",
        f"{steps} steps of {recipe.train.batch_size} rows",
        f"stages: {', '.join(stage.name for stage in STAGES)}",
        *(f"warning: {w}" for w in recipe.warnings()),
    ]
    return {
        "rows": {"train": rows, "valid": len(prepared.valid), "test": len(prepared.test)},
        "steps": steps,
        "lines": lines,
    }


def _canary_rows(recipe: Recipe) -> int:
    from appliance.data.canaries import make

    planted = make(recipe.train.seed) if recipe.evaluate.canaries else []
    return sum(canary.repeats for canary in planted)


def _trained(recipe: Recipe) -> str:
    adapter = recipe.adapter
    return "all weights" if adapter.kind == "none" else f"{adapter.kind} r={adapter.r}"
