"""Prompt, retrieval or fine-tuning? What the measured ways allow one to say. Pure.

The order is the documented one, the cheapest first: prompt, then retrieval, then fine-tuning
(OpenAI, "Optimizing LLM Accuracy": begin with prompts, add retrieval where knowledge is missing and
fine-tuning where behaviour is; Anthropic, "Prompt engineering overview": try prompts before
fine-tuning, which costs more time, data and general knowledge). Nothing is said more strongly than
the 95 % intervals allow: of the best of several ways they are a little too kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance import statistics
from appliance.console import span
from appliance.report.summary import figure

# In the order in which they should be tried: way -> (step of the order, what it is called).
WAYS = {
    "zero_shot": ("prompt", "the rows' own prompts"),
    "labels": ("prompt", "an instruction that names the answers"),
    "few_shot": ("prompt", "few-shot"),
    "retrieval": ("retrieval", "retrieval"),
    "nearest": ("retrieval", "copying the nearest row's answer"),
}
TUNE = "fine-tuning"


@dataclass(frozen=True)
class Way:
    """One measured way of doing the task without training."""

    name: str
    scores: Mapping[str, Any]

    @property
    def step(self) -> str:
        return WAYS[self.name][0]

    @property
    def value(self) -> float:
        return float(self.scores["value"])

    @property
    def low(self) -> float:
        return float(self.scores["interval"][0])

    @property
    def high(self) -> float:
        return float(self.scores["interval"][1])

    def __str__(self) -> str:
        return f"{WAYS[self.name][1]}: {figure(dict(self.scores))}"


def recommend(
    scores: Mapping[str, Any], target: float | None, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """What to do, by `scores` of advise.py, and why.

    `target`: the score that is wanted, 0 to 1. `scores` may have `tuned`, the tuned model's scores
    on the same rows. `plan`: its `rows`, `steps` and, where known, `seconds`;
    or an earlier advice's `cost`.
    Returns `choice` (prompt, retrieval, fine-tuning, or None: the numbers do not say), `way` of
    WAYS, `sure` (do the intervals decide it?), `text`, `reasons`, `to_add` (what fine-tuning would
    have to add to reach the target) and `cost`.
    """
    found = [Way(n, scores["ways"][n]) for n in WAYS if _value(scores["ways"].get(n)) is not None]
    cost = {key: plan[key] for key in ("steps", "seconds") if plan.get(key) is not None}
    rows = plan.get("rows")
    if rows is not None:
        cost["rows"] = rows["train"] if isinstance(rows, Mapping) else rows
    made: dict[str, Any] = {"choice": None, "way": None, "sure": False, "to_add": None}
    if not found:
        return made | {"text": "No way could be measured.", "reasons": [], "cost": cost}
    best = max(found, key=lambda way: way.value)  # of equals the first, which is the cheaper
    tuned = scores["tuned"] if _value(scores.get("tuned")) is not None else None
    if target is not None:
        made |= _by_target(found, best, tuned, target)
    elif tuned is not None:
        made |= _by_tuned(best, tuned)
    else:
        made |= _open(best)
    return made | {"reasons": _reasons(found, best, made, cost), "cost": cost}


def _value(scores: Any) -> float | None:
    return scores.get("value") if scores else None


def _by_target(found: list[Way], best: Way, tuned: Any, target: float) -> dict[str, Any]:
    """The first way that reaches the target; else fine-tuning, and what it would have to add."""
    wanted = f"the target of {target:.0%}"
    reached = next((way for way in found if way.low >= target), None)
    if reached:
        text = f"Fine-tuning is not needed for {wanted}: {reached} reaches it."
        return {"choice": reached.step, "way": reached.name, "sure": True, "text": text}
    near = next((way for way in found if way.value >= target), None)
    if near:
        text = (
            f"Try {near.step} before fine-tuning: {near} is at {wanted}, but its interval reaches "
            "below; more held-out rows would settle it."
        )
        return {"choice": near.step, "way": near.name, "sure": False, "text": text}
    part = f"{best}, which is {best.value / target:.0%} of {wanted}"
    added = {
        "value": target - best.value,
        "interval": [max(target - best.high, 0.0), target - best.low],
    }
    made = {"choice": TUNE, "way": None, "sure": best.high < target, "to_add": added}
    if any(way.high >= target for way in found):
        made["sure"] = False
        text = f"The best without training is {part}: its interval does not exclude the target, "
        text += "so more held-out rows, or a better prompt, may spare the fine-tuning."
    else:
        text = f"None of the ways without training reaches {wanted}; the best is {part}."
    if tuned is not None:
        reaches = tuned["interval"][0] >= target
        text += f" The tuned model is at {figure(dict(tuned))}: "
        text += "it reaches it." if reaches else f"it is not shown to reach {wanted} either."
        made["sure"] = made["sure"] and reaches
    return made | {"text": text}


def _by_tuned(best: Way, tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Against the tuned model, row by row: did training add anything to the best way without it?"""
    added = statistics.paired(best.scores["items"], tuned["items"])
    if added["value"] is None:
        return {"text": "No row was scored both with and without training."}
    low, high = added["interval"]
    between = (
        f"{figure(dict(tuned))} against {best}, {100 * added['value']:+.0f} points "
        f"[{100 * low:+.0f} to {100 * high:+.0f}] on the same rows"
    )
    made = {"choice": best.step, "way": best.name, "sure": high < 0, "to_add": None}
    if low > 0:
        text = f"Fine-tuning adds to the best way without training: {between}."
        made |= {"choice": TUNE, "way": None, "sure": True}
    elif high < 0:
        text = f"Fine-tuning was not needed: the tuned model is at {between}."
    else:
        share = f", {best.value / tuned['value']:.0%} of it" if tuned["value"] else ""
        text = f"Fine-tuning is not shown to add anything: the tuned model is at {between}{share}."
    return made | {"text": text, "added": added}


def _open(best: Way) -> dict[str, Any]:
    """Neither a target nor a tuned model: what is left to win, and no choice."""
    low, high = 1 - best.high, 1 - best.low
    left = {"value": 1 - best.value, "interval": [low, high]}
    text = (
        f"The best without training is {best}. Fine-tuning could add {100 * (1 - best.value):.0f} "
        f"points [{100 * low:.0f} to {100 * high:.0f}] at most; with a target (--target) this says "
        "whether it has to."
    )
    return {"text": text, "to_add": None, "left": left}


def _reasons(found: list[Way], best: Way, made: dict[str, Any], cost: dict[str, Any]) -> list[str]:
    """The sentences under the advice: what is gained by asking well, and what training costs."""
    said = []
    by_name = {way.name: way for way in found}
    asked = by_name.get("zero_shot")
    if asked and asked is not best:
        said.append(_between(asked, best))
    if best.name != "nearest" and "nearest" in by_name:
        said.append(f"No model at all, {by_name['nearest']}.")
    elif best.name == "nearest" and len(found) > 1:
        asking = max((way for way in found if way is not best), key=lambda way: way.value)
        said.append(f"That takes no model; of the ways that ask it the best is {asking}.")
    if made["to_add"]:
        low, high = (100 * v for v in made["to_add"]["interval"])
        added = f"{100 * made['to_add']['value']:.0f}"
        said.append(
            f"Fine-tuning would have to add {added} point{'' if added == '1' else 's'} "
            f"[{low:.0f} to {high:.0f}] to the best of them."
        )
    if "steps" in cost:
        rows = f" over {cost['rows']} rows" if "rows" in cost else ""
        time = f", about {span(cost['seconds'])}" if "seconds" in cost else ""
        said.append(
            f"It is {cost['steps']} steps{rows}{time}, and what it forgets must be measured after."
        )
    return said


def _between(asked: Way, best: Way) -> str:
    """How much the best way adds to the rows' own prompts, row by row."""
    added = statistics.paired(asked.scores["items"], best.scores["items"])
    if added["value"] is None:
        return f"As they stand, {asked}."
    low, high = (100 * v for v in added["interval"])
    name = WAYS[best.name][1]
    shown = f"{name} adds {100 * added['value']:.0f} points [{low:.0f} to {high:.0f}]"
    return f"As they stand, {asked}; {shown}" + ("." if low > 0 else ", so none for sure.")
