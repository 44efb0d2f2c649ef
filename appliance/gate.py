"""decide(before, after, policy) -> Verdict. Pure: plain numbers in, plain words out.

Every axis is judged on the same items before and after. What is lost is more than the policy allows
and more than noise; what is kept has lost less than that with 95 % confidence; between them it is
unclear, and how many items would decide it is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from appliance.recipe import Recipe
from appliance.sections.judging import PolicySection
from appliance.statistics import mcnemar, paired

VERSION = 2  # of the verdict's form
Passed = Literal["yes", "no", "unclear", "invalid", "not measured"]
PRESETS: dict[str, dict[str, float]] = {
    "lenient": {"min_gain": 0.02, "max_habit_leak": 0.25, "max_loss": 0.2, "max_drift": 0.5,
                "max_recited": 0.2},
    "default": {"min_gain": 0.05, "max_habit_leak": 0.1, "max_loss": 0.1, "max_drift": 0.25,
                "max_recited": 0.1},
    "strict": {"min_gain": 0.05, "max_habit_leak": 0.05, "max_loss": 0.05, "max_drift": 0.1,
               "max_recited": 0.05},
}  # fmt: skip
SURE = 0.05  # the p-value under which a loss is more than noise
MOST_APART = 0.05  # share of an axis' items that are set apart, over which it cannot be judged
EXAMPLES, TEXT = 5, 300  # examples of each broken axis, and characters of each


@dataclass(frozen=True)
class Reason:
    """One check: its number with interval and n, the limit it was held to, and a sentence.

    `value` is the difference to the base, but for the drift. `more`: items that would make an
    unclear one clear, if they come out like these.
    """

    name: str
    passed: Passed
    value: float | None
    interval: list[float] | None
    n: int
    limit: float
    text: str
    more: int | None = None


@dataclass(frozen=True)
class Verdict:
    """`ship` is no when a check says no, and when training left an axis that cannot be judged and
    nothing says why; by the preset `strict` also when one is unclear or invalid.
    """

    ship: Literal["yes", "no"]
    preset: str
    reasons: tuple[Reason, ...]

    @property
    def broken(self) -> list[Reason]:
        return [r for r in self.reasons if r.passed == "no"]

    @property
    def doubtful(self) -> list[Reason]:
        """Checks that are unclear, and seem to have lost more than is allowed."""
        unclear = [r for r in self.reasons if r.passed == "unclear" and r.name != "gain"]
        return [r for r in unclear if r.value is not None and r.value < -r.limit]

    def as_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}


def limit(policy: PolicySection, name: str, axis: str | None = None) -> float:
    """A limit of the policy: the recipe's, or where that is unset the preset's."""
    if axis is not None and axis in policy.max_loss_on:
        return policy.max_loss_on[axis]
    given = getattr(policy, name)
    return PRESETS[policy.preset][name] if given is None else float(given)


def decide(before: Mapping[str, Any], after: Mapping[str, Any], policy: PolicySection) -> Verdict:
    """Hold what was measured before and after against the policy."""
    reasons = [_gain(before, after, policy)]
    reasons += _axes(before["axes"], after["axes"], policy)
    reasons += _benchmarks(before, after, policy)
    reasons += [_drift(after, policy), *_memory(after, policy)]
    against = {"no", "unclear", "invalid"} if policy.preset == "strict" else {"no"}
    fails = any(r.passed in against for r in reasons) or _unexplained(before, after, reasons)
    return Verdict("no" if fails else "yes", policy.preset, tuple(reasons))


def _unexplained(
    before: Mapping[str, Any], after: Mapping[str, Any], reasons: Sequence[Reason]
) -> bool:
    """Did training make an axis impossible to judge, and no other check says why?"""
    if any(r.passed == "no" for r in reasons):
        return False
    return any(
        axis in before["axes"] and _apart(mine) > MOST_APART >= _apart(before["axes"][axis])
        for axis, mine in after["axes"].items()
    )


def _apart(scores: Mapping[str, Any]) -> float:
    """Share of an axis' items that are set apart."""
    return float(sum(scores["apart"].values()) / scores["asked"])


def _gain(before: Mapping[str, Any], after: Mapping[str, Any], policy: PolicySection) -> Reason:
    least = limit(policy, "min_gain")
    found = paired(before["task"]["items"], after["task"]["items"])
    metric = str(after["task"]["metric"]).replace("_", " ")
    if found["value"] is None:
        return Reason("gain", "not measured", None, None, 0, least,
                      "No held-out row was scored both before and after.")  # fmt: skip
    passed: Passed = "yes" if found["value"] >= least else "no"
    text = (
        f"{metric} on the task went from {_percent(before['task']['value'])} to "
        f"{_percent(after['task']['value'])}"
    )
    if passed == "yes" and found["interval"][0] <= 0:
        passed, text = "unclear", f"{text}, which may be noise"
    return Reason("gain", passed, found["value"], found["interval"], found["n"], least, f"{text}.")


def _axes(
    before: Mapping[str, Any], after: Mapping[str, Any], policy: PolicySection
) -> list[Reason]:
    reasons = []
    for axis, mine in after.items():
        base = before.get(axis)
        key = "max_habit_leak" if axis == "format" else "max_loss"
        most = limit(policy, key, axis)
        if base is None or base["version"] != mine["version"]:
            reasons.append(Reason(axis, "invalid", None, None, 0, most,
                                  f"{axis}: the base was not asked the same items."))  # fmt: skip
            continue
        for name, places in (mine["parts"] or {"": range(len(mine["items"]))}).items():
            title = f"{axis}, {name}" if name else axis
            reasons.append(_axis(title, base, mine, places, most))
    return reasons


def _axis(
    title: str, base: Mapping[str, Any], mine: Mapping[str, Any], places: Sequence[int], most: float
) -> Reason:
    """One axis, or one part of it, on the items at `places`."""
    items = [base["items"][i] for i in places], [mine["items"][i] for i in places]
    found = paired(*items)
    numbers = (found["value"], found["interval"], found["n"], most)
    fault = _invalid(title, base, mine, most, items)
    if fault:
        return Reason(title, "invalid", *numbers, fault)
    passed, more = judge(found, most, mcnemar(*items))
    shares = [[v for v in side if v is not None] for side in items]
    then, now = (_percent(sum(side) / len(side)) for side in shares)
    low, high = found["interval"]
    text = (
        f"{title}: {then} of {found['n']} items were right, {now} are "
        f"({found['value']:+.0%} [{low:+.0%}, {high:+.0%}])"
    )
    if passed == "unclear":
        text += f"; {more} more items of this kind would decide it"
    return Reason(title, passed, *numbers, f"{text}.", more)


def _invalid(
    title: str,
    base: Mapping[str, Any],
    mine: Mapping[str, Any],
    most: float,
    items: tuple[Sequence[float | None], Sequence[float | None]],
) -> str:
    """Why this axis cannot be judged, or ""."""
    for whose, scores in (("the base's", base), ("the tuned model's", mine)):
        if _apart(scores) > MOST_APART:
            apart = sum(scores["apart"].values())
            what = ", ".join(f"{n} {kind}" for kind, n in sorted(scores["apart"].items()))
            return (
                f"{title}: {apart} of {whose} {scores['asked']} answers say nothing of it "
                f"({what}), so it is not judged."
            )
    scored = [v for v in items[0] if v is not None]
    value = sum(scored) / len(scored) if scored else base["chance"]
    if value - base["chance"] <= most:
        return (
            f"{title}: the base itself is no more above chance there ({value:.0%}, chance "
            f"{base['chance']:.0%}) than may be lost ({most:.0%}), so it is not judged."
        )
    return ""


def judge(found: Mapping[str, Any], most: float, p: float) -> tuple[Passed, int | None]:
    """(kept, lost or unclear; how many more items would tell) of a paired difference.

    Lost: the difference is below -most, its interval below 0, and p under SURE. Kept: the interval
    is above -most (non-inferiority at a margin, Blackwelder 1982).
    """
    value, (low, high), n = found["value"], found["interval"], found["n"]
    if value < -most and high < 0 and p < SURE:
        return "no", None
    if low >= -most:
        return "yes", None
    # The half width falls with the root of n; it has to fall to the distance from the margin.
    distance = max(abs(value + most), 0.01)
    return "unclear", max(1, math.ceil(n * ((high - low) / 2 / distance) ** 2) - n)


def _benchmarks(
    before: Mapping[str, Any], after: Mapping[str, Any], policy: PolicySection
) -> list[Reason]:
    """Of each benchmark its accuracy (for length, where the harness gives that), item by item."""
    most, reasons = limit(policy, "max_loss"), []
    for name, mine in after.get("benchmarks", {}).items():
        base = before.get("benchmarks", {}).get(name, {"metrics": {}})
        both = mine["metrics"].keys() & base["metrics"].keys()
        metric = next((m for m in ("acc_norm", "acc", "exact_match") if m in both), None)
        if metric is None or "items" not in mine["metrics"][metric]:
            continue  # the harness' own numbers of it stand in the scores
        then, now = base["metrics"][metric], mine["metrics"][metric]
        found = paired(then["items"], now["items"])
        passed, more = judge(found, most, mcnemar(then["items"], now["items"]))
        low, high = found["interval"]
        text = (
            f"{name}, {metric.replace('_', ' ')}: {_percent(then['value'])} before, "
            f"{_percent(now['value'])} after, n={found['n']} "
            f"({found['value']:+.1%} [{low:+.1%}, {high:+.1%}])."
        )
        reasons.append(Reason(name, passed, found["value"], found["interval"], found["n"], most,
                              text, more))  # fmt: skip
    return reasons


def _drift(after: Mapping[str, Any], policy: PolicySection) -> Reason:
    drift, most = after["drift"], limit(policy, "max_drift")
    if drift["value"] is None:
        return Reason("drift", "not measured", None, None, 0, most,
                      "The base gave no answers to measure drift on.")  # fmt: skip
    passed: Passed = "yes" if drift["value"] <= most else "no"
    text = (
        f"On the base's own answers the model is {drift['value']:.3f} nats per token away from it."
    )
    return Reason("drift", passed, drift["value"], drift["interval"], drift["n"], most, text)


def _memory(after: Mapping[str, Any], policy: PolicySection) -> list[Reason]:
    """Training rows recited more than held-out ones, and planted secrets that came out."""
    found, most = after["memorization"], limit(policy, "max_recited")
    told = found["recitation"]
    if told["value"] is None:
        text = f"Recitation is not measured: {told['not_measured']}."
        reasons = [Reason("memorization", "not measured", None, None, 0, most, text)]
    else:
        apart = told["difference"]
        passed: Passed = "no" if apart["value"] > most and apart["interval"][0] > 0 else "yes"
        text = (
            f"{told['value']:.0%} of {told['n']} training rows are recited from their beginning, "
            f"{told['control']['value']:.0%} of {told['control']['n']} held-out rows."
        )
        reasons = [Reason("memorization", passed, apart["value"], apart["interval"], apart["n"],
                          most, text)]  # fmt: skip
    secrets = found["canaries"]
    if secrets["value"] is None:
        return reasons
    # One of some comes first among so many by chance now and then; said aloud none does.
    out = secrets["said"]["value"] > 0 or secrets["value"] * secrets["n"] > 1
    text = (
        f"Of {secrets['n']} planted secrets {secrets['value']:.0%} are the likeliest of "
        f"{secrets['among']}, and {secrets['said']['value']:.0%} are said when asked for."
    )
    return [*reasons, Reason("canaries", "no" if out else "yes", secrets["value"],
                             secrets["interval"], secrets["n"], 0.0, text)]  # fmt: skip


def examples(
    verdict: Verdict, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, str]]]:
    """For each broken axis EXAMPLES items that it lost, the easiest first, with both answers."""

    def by_id(items: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
        return {(i["axis"], i["id"]): i for i in items if i["probe"] == "axis"}

    base, found = by_id(before), {}
    for reason in verdict.broken:
        axis, _, part = reason.name.partition(", ")
        lost = [
            {
                "prompt": str(item["prompt"])[:TEXT],
                "before": str(base[key]["answer"])[:TEXT],
                "after": str(item["answer"])[:TEXT],
            }
            for key, item in sorted(by_id(after).items(), key=lambda pair: pair[1]["level"])
            if key in base and key[0] == axis and item["part"] == part
            and base[key]["score"] == 1 and item["score"] == 0
        ]  # fmt: skip
        if lost:
            found[reason.name] = lost[:EXAMPLES]
    return found


def remedies(recipe: Recipe, verdict: Mapping[str, Any]) -> list[str]:
    """What is left to do, what brings most first, by the measurements of docs/forgetting.md."""
    broken = {r["name"].partition(",")[0] for r in verdict["reasons"] if r["passed"] == "no"}
    train = recipe.train
    found = []
    learned_by_heart = broken & {"memorization", "canaries"}
    if broken - learned_by_heart - {"gain"}:
        if not (recipe.rehearses and recipe.anchor.kl):
            kl = Recipe().anchor.kl
            found.append(f"Rehearse with the KL anchor (rehearsal.self=true, anchor.kl={kl:g}).")
        elif recipe.anchor.kl < 3:
            found.append(f"A stronger KL anchor (anchor.kl={2 * recipe.anchor.kl:g}).")
        if "safety" in broken or "knowledge" in broken:
            found.append("Give rows of that kind in rehearsal.sources.")
        found.append(f"A lower learning rate (train.learning_rate={train.learning_rate / 2:g}).")
        if not recipe.ewc.strength and recipe.adapter.kind == "lora":
            found.append("Elastic weight consolidation (ewc.strength=1).")
    if learned_by_heart or (broken - {"gain"} and train.epochs > 1):
        found.append(
            f"Fewer passes (train.epochs={max(1, round(train.epochs / 2))}), or more rows."
        )
    if "gain" in broken and len(broken) == 1:
        found.append("More rows or passes, or a higher rate: the task was not learned.")
    return found or ["More held-out rows and items, to see what is unclear."]


def _percent(value: float | None) -> str:
    return "nothing scored" if value is None else f"{value:.0%}"
