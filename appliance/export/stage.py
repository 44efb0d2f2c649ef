"""The export stage: adapter and base -> export/merged, and export/export.json."""

from __future__ import annotations

from typing import Any

from appliance.console import console
from appliance.disk import read_json, sha256, write_json
from appliance.errors import GateRefused, RunError
from appliance.export.merge import merge
from appliance.gate import remedies
from appliance.model.adapter import weights_file
from appliance.model.load import resolve
from appliance.recipe import Recipe
from appliance.run import RunDir, now


def export(
    run: RunDir, recipe: Recipe, *, strength: float | None = None, force: bool = False
) -> None:
    """Merge at `strength`: by default the recipe's, else as trained or as the dial found.

    Raises RunError when the base is not the one trained on, GateRefused when the gate said no to
    this strength and the recipe's policy refuses it.
    """
    verdict, dial = read_json(run.verdict), read_json(run.dial)
    asked = recipe.export.strength if strength is None else strength
    scale = _allowed(run, recipe, verdict, dial["chosen"], asked, force)
    ref = resolve(recipe.model)
    trained_on = read_json(run.manifest)["model"]["sha256"]
    if trained_on and ref.digest() != trained_on:
        raise RunError(
            f"{ref.folder} is not the base that {run.root} was trained on (its weights differ).",
            "Name that base, or train anew.",
        )
    facts = {}
    if recipe.export.merged:
        facts = merge(ref.folder, run.adapter, run.merged, scale)
        console.say(f"  merged model in {run.merged}")
    write_json(
        run.export_facts,
        {
            "time": now(),
            "verdict": verdict["ship"],
            "strength": scale,
            "forced": force,
            "adapter_sha256": sha256(weights_file(run.adapter)),
            "merged": facts,
            "files": {p.name: sha256(p) for p in sorted(run.merged.glob("*")) if p.is_file()},
        },
    )


def _allowed(
    run: RunDir,
    recipe: Recipe,
    verdict: dict[str, Any],
    chosen: float | None,
    asked: float | None,
    force: bool,
) -> float:
    """The strength to merge at. `chosen`: the strongest that passes the gate."""
    scale = asked if asked is not None else 1.0 if chosen is None else chosen
    passes = verdict["ship"] == "yes" or (chosen is not None and scale == chosen)
    if passes or force or recipe.policy.action == "warn":
        return scale
    broken = " ".join(r["text"] for r in verdict["reasons"] if r["passed"] == "no")
    if chosen is not None:
        raise GateRefused(
            f"The verdict of {run.root} at strength {scale:g} is no: {broken}",
            f"At strength {chosen:g} it passes: leave --strength away, or --force it.",
        )
    left = " ".join(f"{n}. {text}" for n, text in enumerate(remedies(recipe, verdict), 1))
    raise GateRefused(
        f"The verdict of {run.root} is no, at every strength that was tried: {broken}",
        f"What is left: {left} Or `export --force` to ship it all the same.",
    )
