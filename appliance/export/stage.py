"""The export stage: adapter and base -> export/merged, and export/export.json."""

from __future__ import annotations

from appliance.console import console
from appliance.errors import GateRefused, RunError
from appliance.export.merge import merge
from appliance.model.adapter import weights_file
from appliance.model.load import resolve
from appliance.recipe import Recipe
from appliance.run import RunDir, now, read_json, sha256, write_json


def export(
    run: RunDir, recipe: Recipe, *, strength: float | None = None, force: bool = False
) -> None:
    """Merge at `strength` (the recipe's by default).

    Raises RunError when the base is not the one trained on, GateRefused when the verdict is no and
    the recipe's policy refuses it.
    """
    verdict = read_json(run.verdict)
    if verdict["ship"] == "no":
        broken = [r["text"] for r in verdict["reasons"] if r["passed"] == "no"]
        if recipe.policy.action == "refuse" and not force:
            raise GateRefused(
                f"The verdict of {run.root} is no: {' '.join(broken)}",
                "Change the recipe, or `export --force` to ship it all the same.",
            )
    ref = resolve(recipe.model)
    trained_on = read_json(run.manifest)["model"]["sha256"]
    if trained_on and ref.digest() != trained_on:
        raise RunError(
            f"{ref.folder} is not the base that {run.root} was trained on (its weights differ).",
            "Name that base, or train anew.",
        )
    facts = {}
    scale = recipe.export.strength if strength is None else strength
    if recipe.export.merged:
        facts = merge(ref.folder, run.adapter, run.merged, scale)
        console.say(f"  merged model in {run.merged}")
    write_json(
        run.export_facts,
        {
            "time": now(),
            "verdict": verdict["ship"],
            "forced": force,
            "adapter_sha256": sha256(weights_file(run.adapter)),
            "merged": facts,
            "files": {p.name: sha256(p) for p in sorted(run.merged.glob("*")) if p.is_file()},
        },
    )
