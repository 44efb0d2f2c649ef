"""Which arm to train by: what it keeps, for how much of the gain. Pure but for `write`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from appliance.ablate.folder import Folder, Plan
from appliance.ablate.results import PLAIN
from appliance.disk import write_text
from appliance.recipe import Recipe

KEEP = 0.95  # share of the reference's gain that a remedy must keep
RETAIN = 0.9  # of what is kept, under which an arm forgets whatever it gains


@dataclass(frozen=True)
class Point:
    """An arm's gain, and what it keeps: its retention, or where no style can leak exp(-drift)."""

    name: str
    gain: float
    kept: float
    interval: tuple[float, float]  # of what is kept, 95 %
    drift: float


def by_retention(arms: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(arm["retention"]["value"] is not None for arm in arms.values())


def points(arms: Mapping[str, Mapping[str, Any]]) -> list[Point]:
    """The arms that were measured. All by retention, or all by drift."""
    found = []
    for name, arm in arms.items():
        gain, drift = arm["gain"]["value"], arm["drift"]["value"]
        kept, interval = arm["retention"]["value"], arm["retention"]["interval"]
        if not by_retention(arms) and drift is not None:
            low, high = arm["drift"]["interval"]
            kept, interval = math.exp(-drift), (math.exp(-high), math.exp(-low))
        if gain is not None and kept is not None:
            lost = math.inf if drift is None else drift
            found.append(Point(name, gain, kept, tuple(interval), lost))
    return found


def pareto(found: list[Point]) -> list[Point]:
    """Those that no other arm equals in gain and in what is kept, and beats in one of them."""

    def beaten(p: Point) -> bool:
        return any(
            q.gain >= p.gain and q.kept >= p.kept and (q.gain, q.kept) != (p.gain, p.kept)
            for q in found
        )

    return [p for p in found if not beaten(p)]


def recommend(arms: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, str]:
    """(arm, why in a sentence); no arm where none learned the task."""
    found = points(arms)
    learned = [p for p in found if p.gain > 0]
    if not learned:
        return None, "No arm is recommended: none gained on the task."
    plain = next((p for p in learned if p.name == PLAIN), None)
    reference = plain or max(learned, key=lambda p: p.gain)
    whose = "plain's gain" if plain else "the largest gain"
    enough = [p for p in learned if p.gain >= KEEP * reference.gain and p.kept >= RETAIN]
    # Plain always keeps its own gain: that alone recommends nothing.
    if any(p is not plain for p in enough):
        best = max(enough, key=_order)
        return best.name, f"{best.name} keeps most of the arms with at least {KEEP:.0%} of {whose}."
    best = max(pareto(learned), key=lambda p: (p.gain * p.kept, _order(p)))
    return best.name, (
        f"No remedy has {KEEP:.0%} of {whose} and keeps {RETAIN:.0%} of the rest. {best.name} has "
        "the best product of gain and what is kept, of the arms that no other beats in both."
    )


def _order(p: Point) -> tuple[float, float, float]:
    """What is kept first; of equals the least drift, then the most gain."""
    return p.kept, -p.drift, p.gain


def write(folder: Folder, plan: Plan, results: Mapping[str, Any]) -> None:
    """recommended.yaml: what differs from the defaults, under the numbers that speak for it."""
    name = results["recommended"]
    folder.recommended.unlink(missing_ok=True)
    if name is None:
        return
    arm = next(arm for arm in plan.arms if arm.name == name)
    found = results["arms"][name]
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        f"Arm {name} of `appliance ablate` ({', '.join(results['arms'])}), {results['time'][:10]}.",
        results["why"],
        f"Model {results['model']}, data {results['data']}, seeds {seeds}; 95 % intervals:",
        *(f"  {key.replace('_', ' ')}: {_number(found[key])}" for key in
          ("gain", "habit_leak", "retention", "drift", "training_seconds")),
    ]  # fmt: skip
    recipe = plan.recipe(arm)
    text = yaml.safe_dump(differing(recipe), sort_keys=False, allow_unicode=True)
    head = "".join(f"# {' '.join(line.split()) if line[0] != ' ' else line}\n" for line in lines)
    write_text(folder.recommended, head + text)


def differing(recipe: Recipe) -> dict[str, Any]:
    """The keys that are not at their defaults, and the method."""
    tree: dict[str, Any] = recipe.model_dump(mode="json", exclude_defaults=True)
    return {"method": recipe.method, **tree}


def _number(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "not measured"
    low, high = found["interval"]
    return f"{found['value']:.3g} [{low:.3g} to {high:.3g}], n={found['n']}"
