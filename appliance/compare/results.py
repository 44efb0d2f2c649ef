"""All of a comparison as plain values: what `--json` prints, and the table and the page show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from appliance.compare.column import Column
from appliance.compare.differences import differences
from appliance.compare.words import notes, sentences

VERSION = 1  # of the results' form


def compare(found: Sequence[Column]) -> dict[str, Any]:
    """Every run's column, every later run less the first, and both in words."""
    first, *rest = found
    against = {run.name: differences(run, first) for run in rest if run.evaluated & first.evaluated}
    return {
        "version": VERSION,
        "first": first.name,
        "runs": {run.name: _column(run) for run in found},
        "recipes": recipe_differences(found),
        "less_first": {
            name: [found.as_json() for found in apart] for name, apart in against.items()
        },
        "sentences": sentences(found, against),
        "notes": notes(found, against),
    }


def recipe_differences(found: Sequence[Column]) -> dict[str, list[Any]]:
    """Every key that is not the same in all, with its value in each; None also where it is not."""
    keys = dict.fromkeys(key for run in found for key in run.recipe)
    values = {key: [run.recipe.get(key) for run in found] for key in keys}
    return {key: each for key, each in values.items() if any(v != each[0] for v in each)}


def _column(run: Column) -> dict[str, Any]:
    return {
        "folder": str(run.run.root),
        "standing": asdict(run.standing),
        "base": run.base,
        "measures": {
            name: {
                "unit": measure.unit,
                "better": measure.better,
                **measure.figure(),
                "base": measure.base,
                "unscored": measure.unscored,
                "basis": list(measure.basis),
            }
            for name, measure in run.measures.items()
        },
        "seconds": {
            "rehearse_and_train": run.training_seconds,
            "whole": run.whole_seconds,
            "stages": dict(run.seconds),
        },
        "training": {
            key: run.training.get(key) for key in ("steps", "tokens_per_second", "peak_memory_gib")
        },
        "verdict": run.verdict.get("ship"),
        "broken": [r["name"] for r in run.verdict.get("reasons", []) if r["passed"] == "no"],
        "strength": run.strength,
        "alarms": list(run.alarms),
        "machine": dict(run.machine),
        "faults": list(run.faults),
    }
