"""All of a comparison as plain values: what `--json` prints, and the table and the page show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from appliance.compare.column import Column, money
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
    """Every key that is not the same in all, with its value in each; None also where it is not.

    A recipe that cannot be read differs in nothing.
    """
    known = [run.recipe for run in found if run.recipe]
    keys = dict.fromkeys(key for recipe in known for key in recipe)
    apart = [key for key in keys if any(r.get(key) != known[0].get(key) for r in known)]
    return {
        key: [run.recipe.get(key) if run.recipe else "not readable" for run in found]
        for key in apart
    }


def _column(run: Column) -> dict[str, Any]:
    reading = run.reading
    training, verdict = reading.training, reading.verdict
    return {
        "folder": str(reading.root),
        "state": asdict(reading.state),
        "unmeasured": run.unmeasured,
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
            "stages": reading.seconds,
        },
        "money": money(run),
        "steps": training.steps if training else None,
        "tokens_per_second": training.tokens_per_second if training else None,
        "peak_memory_gib": training.peak_memory_gib if training else None,
        "verdict": verdict.ship if verdict else None,
        "broken": [r.name for r in verdict.reasons if r.passed == "no"] if verdict else [],
        "strength": run.strength,
        "alarms": [alarm.text for alarm in reading.alarms],
        "machine": (reading.manifest or {}).get("machine"),
        "faults": list(run.faults),
    }
