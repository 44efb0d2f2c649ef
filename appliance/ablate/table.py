"""The results as a table: on a terminal, in Markdown (the same text), and cells for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.ablate.recommend import by_retention
from appliance.console import span
from appliance.tables import Table

NONE = {"value": None, "interval": None, "n": 0}


def tables(results: Mapping[str, Any]) -> list[Table]:
    """What each arm gained, kept and took; and where there is a `plain`, each arm less it."""
    arms: Mapping[str, Any] = results["arms"]
    metric = str(results["metric"] or "score").replace("_", " ")
    found = [
        Table(
            f"Arms ({metric} on the task; mean and 95 % interval over seeds and items)",
            ("arm", "before", "gain", "habit leak", "retention", "drift (KL)",
             "loss on the base's answers", "rehearse + train", "whole run", "n"),
            tuple(_arm(name, arm) for name, arm in arms.items()),
        )
    ]  # fmt: skip
    axes = list(dict.fromkeys(axis for arm in arms.values() for axis in arm["axes"]))
    if axes:
        found.append(
            Table(
                "The rest (share of the items right, after less before; out of form is not right)",
                ("arm", *axes, "n"),
                tuple(
                    (
                        name,
                        *(percent(arm["axes"].get(axis, NONE), signed=True) for axis in axes),
                        " + ".join(str(arm["axes"].get(axis, NONE)["n"]) for axis in axes),
                    )
                    for name, arm in arms.items()
                ),
            )
        )
    against = {name: arm["to_plain"] for name, arm in arms.items() if arm["to_plain"]}
    if against:
        found.append(
            Table(
                "Less plain (the same items within a seed)",
                ("arm", "gain", "habit leak", "retention", "drift (KL)", "rehearse + train"),
                tuple(
                    (
                        name,
                        *(percent(d[key], signed=True) for key in ("gain", "habit_leak")),
                        percent(d["retention"], signed=True),
                        nats(d["drift"], signed=True),
                        time(d["training_seconds"], signed=True),
                    )
                    for name, d in against.items()
                ),
            )
        )
    return found


def text(results: Mapping[str, Any]) -> str:
    """Tables and notes for a terminal, in Markdown."""
    parts = [f"{table.title}\n\n{table.markdown()}" for table in tables(results)]
    return "\n\n".join([*parts, "\n".join(notes(results))])


def notes(results: Mapping[str, Any]) -> list[str]:
    """What must be said beside the tables: the recommendation, failures, what is not in them."""
    said = [results["why"]]
    for name, arm in results["arms"].items():
        said += [f"{name}, seed {seed}, failed: {text}" for seed, text in arm["failed"].items()]
    if results["rehearsal_was_in_the_cache"]:
        said.append(
            "The rehearsed dialogues were in the cache before, so what it takes to write them is "
            "not in the times."
        )
    if not by_retention(results["arms"]):
        said.append(
            "The task's answers have no style that could leak, so retention is not measured: what "
            "an arm keeps is exp(-drift)."
        )
    return said


def _arm(name: str, arm: Mapping[str, Any]) -> tuple[str, ...]:
    count = len(arm["seeds"])
    n = f"{count} seed{'' if count == 1 else 's'}: {arm['gain']['n']} + {arm['drift']['n']}"
    return (
        name,
        percent(arm["before"], interval=False),
        percent(arm["gain"], signed=True),
        percent(arm["habit_leak"]),
        percent(arm["retention"]),
        nats(arm["drift"]),
        nats(arm["loss"]),
        time(arm["training_seconds"]),
        time(arm["seconds"]),
        n if count else "failed",
    )


def percent(found: Mapping[str, Any], signed: bool = False, interval: bool = True) -> str:
    """`41% [36 to 46]`."""
    if found["value"] is None:
        return "-"
    sign = "+" if signed else ""
    value = f"{100 * found['value']:{sign}.0f}%"
    low, high = (100 * end for end in found["interval"])
    return f"{value} [{low:{sign}.0f} to {high:{sign}.0f}]" if interval else value


def nats(found: Mapping[str, Any], signed: bool = False) -> str:
    """`0.079 [0.071 to 0.088]`, nats per token."""
    if found["value"] is None:
        return "-"
    sign = "+" if signed else ""
    low, high = found["interval"]
    return f"{found['value']:{sign}.3f} [{low:{sign}.3f} to {high:{sign}.3f}]"


def time(found: Mapping[str, Any], signed: bool = False) -> str:
    """`4m12s [4m10s to 4m14s]`; without the ends where one run was timed."""
    if found["value"] is None:
        return "-"

    def said(seconds: float) -> str:
        sign = "-" if seconds < 0 else "+" if signed else ""
        return sign + span(abs(seconds))

    low, high = found["interval"]
    return said(found["value"]) + (f" [{said(low)} to {said(high)}]" if low != high else "")
