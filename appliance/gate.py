"""decide(before, after, policy) -> Verdict. Pure: plain numbers in, plain words out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from appliance.sections import PolicySection
from appliance.statistics import paired

Passed = Literal["yes", "no", "not measured"]


@dataclass(frozen=True)
class Reason:
    """One check: its number with interval and n, the limit it was held to, and a sentence."""

    name: str
    passed: Passed
    value: float | None
    interval: list[float] | None
    n: int
    limit: float
    text: str


@dataclass(frozen=True)
class Verdict:
    """`ship` is yes when no check says no."""

    ship: Literal["yes", "no"]
    reasons: tuple[Reason, ...]

    def as_json(self) -> dict[str, Any]:
        return {"version": 1, **asdict(self)}


def decide(before: dict[str, Any], after: dict[str, Any], policy: PolicySection) -> Verdict:
    """Hold what was measured before and after against the policy."""
    reasons = (_gain(before, after, policy), _leak(before, after, policy), _drift(after, policy))
    return Verdict("no" if any(r.passed == "no" for r in reasons) else "yes", reasons)


def _gain(before: dict[str, Any], after: dict[str, Any], policy: PolicySection) -> Reason:
    found = paired(before["task"]["items"], after["task"]["items"])
    metric = str(after["task"]["metric"]).replace("_", " ")
    if found["value"] is None:
        return Reason("gain", "not measured", None, None, 0, policy.min_gain,
                      "No held-out row was scored both before and after.")  # fmt: skip
    ok = found["value"] >= policy.min_gain
    text = (
        f"{metric} on the task went from {_percent(before['task']['value'])} to "
        f"{_percent(after['task']['value'])}."
    )
    return Reason("gain", "yes" if ok else "no", found["value"], found["interval"], found["n"],
                  policy.min_gain, text)  # fmt: skip


def _leak(before: dict[str, Any], after: dict[str, Any], policy: PolicySection) -> Reason:
    found = paired(before["habit_leak"]["items"], after["habit_leak"]["items"])
    if found["value"] is None:
        return Reason("habit_leak", "not measured", None, None, 0, policy.max_habit_leak,
                      "The task's answers have no fixed style that could leak.")  # fmt: skip
    ok = found["value"] <= policy.max_habit_leak
    text = (
        f"{_percent(after['habit_leak']['value'])} of the off-task prompts are answered as if they "
        f"were the task (base {_percent(before['habit_leak']['value'])})."
    )
    return Reason("habit_leak", "yes" if ok else "no", found["value"], found["interval"],
                  found["n"], policy.max_habit_leak, text)  # fmt: skip


def _drift(after: dict[str, Any], policy: PolicySection) -> Reason:
    drift = after["drift"]
    if drift["value"] is None:
        return Reason("drift", "not measured", None, None, 0, policy.max_drift,
                      "The base gave no answers to measure drift on.")  # fmt: skip
    ok = drift["value"] <= policy.max_drift
    text = (
        f"On the base's own answers the model is {drift['value']:.3f} nats per token away from it."
    )
    return Reason("drift", "yes" if ok else "no", drift["value"], drift["interval"], drift["n"],
                  policy.max_drift, text)  # fmt: skip


def _percent(value: float | None) -> str:
    return "nothing scored" if value is None else f"{value:.0%}"
