"""The strength dial: how strong may the adapter be, if as trained it fails the gate?

The change of the weights is scaled, nothing is trained again. Strengths are tried from strong to
weak, with the task's rows and the axes that are broken; then the one between the last that failed
and the first that passed; and the strongest that passed is measured whole, as the verdict was.
Between base and tuned, Wortsman et al. 2022 (WiSE-FT, arXiv 2109.01903) scale a change likewise.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from appliance.console import console
from appliance.disk import read_json, write_json, write_jsonl
from appliance.evaluate.measure import Scores, look
from appliance.evaluate.suite import AXES, Suite, chosen
from appliance.gate import Verdict, decide
from appliance.model import adapter
from appliance.model.load import Loaded, open_model, release
from appliance.recipe import Recipe
from appliance.run import RunDir

STRENGTHS = (0.85, 0.7, 0.55, 0.4, 0.25)
Point = dict[str, Any]


def dial(run: RunDir, recipe: Recipe) -> None:
    """Write dial.json: the strengths that were tried, the chosen one (None: none), its verdict.

    Where one is chosen, scores_after_dial.json and answers_after_dial.jsonl are its own.
    """
    verdict = read_json(run.verdict)
    wanted = recipe.policy.dial
    fails = verdict["ship"] == "no"
    # A weaker adapter forgets less; it never learned more.
    hopeless = [r["name"] for r in verdict["reasons"] if r["passed"] == "no"] == ["gain"]
    if wanted == "never" or (wanted == "auto" and (not fails or hopeless)):
        write_json(run.dial, {"tried": [], "chosen": None if fails else 1.0, "verdict": None})
        return
    started = time.monotonic()
    loaded = open_model(recipe.model)
    adapter.attach_saved(loaded, run.adapter)
    found = Sweep(run, recipe, loaded)
    chosen_at, confirmed = found.search(passes_whole=not fails)
    release(loaded)
    write_json(
        run.dial,
        {
            "tried": sorted(found.points, key=lambda point: -point["strength"]),
            "chosen": chosen_at,
            "verdict": confirmed.as_json() if confirmed else None,
            "seconds": round(time.monotonic() - started, 1),
        },
    )


class Sweep:
    """Measures at several strengths; `points` are all that were tried."""

    def __init__(self, run: RunDir, recipe: Recipe, loaded: Loaded) -> None:
        self.run, self.recipe, self.loaded = run, recipe, loaded
        self.before = read_json(run.scores_before)
        self.suites = chosen(recipe)
        verdict, after = read_json(run.verdict), read_json(run.scores_after)
        broken = {r["name"].partition(",")[0] for r in verdict["reasons"] if r["passed"] == "no"}
        first, *others = self.suites
        self.few = [first, *(suite for suite in others if suite.axis in broken)]
        self.points: list[Point] = [point(1.0, after, verdict["ship"], whole=True)]

    def search(self, passes_whole: bool) -> tuple[float | None, Verdict | None]:
        """(the strongest that passes, its verdict at all axes); (None, None): none passes."""
        failed, tried = 1.0, list(STRENGTHS)
        if passes_whole:  # it passes as trained: the others are drawn beside it
            for strength in tried:
                self._try(strength, self.few)
            return 1.0, None
        while tried:
            strength = tried.pop(0)
            if self._try(strength, self.few).ship == "no":
                failed = strength
                continue
            between = round((failed + strength) / 2, 3)
            if failed - strength > 0.1 and self._try(between, self.few).ship == "yes":
                tried.insert(0, strength)
                strength = between
            verdict = self._try(strength, self.suites, keep=True)
            if verdict.ship == "yes":
                return strength, verdict
            failed = strength
        return None, None

    def _try(self, strength: float, suites: Sequence[Suite], keep: bool = False) -> Verdict:
        """Measure at one strength. `keep`: whole, and what was measured stays in the run."""
        with adapter.scaled(self.loaded, strength):
            scores, items = look(self.run, self.recipe, self.loaded, "after", suites)
        verdict = decide(self.before, scores, self.recipe.policy)
        if verdict.doubtful:  # of several strengths one would pass by luck
            verdict = replace(verdict, ship="no")
        self.points.append(point(strength, scores, verdict.ship, whole=keep))
        console.say(f"  strength {strength:g}: {_told(self.points[-1])}")
        if keep and verdict.ship == "yes":
            write_jsonl(self.run.answers_dial, items)
            write_json(self.run.scores_dial, scores)
        return verdict


def point(strength: float, scores: Scores, ship: str, *, whole: bool) -> Point:
    """One strength's numbers, with their intervals, for the plot of gain and retention."""

    def number(found: dict[str, Any]) -> dict[str, Any]:
        return {key: found[key] for key in ("value", "interval", "n")}

    return {
        "strength": strength,
        "ship": ship,
        "whole": whole,  # were all axes measured?
        "task": number(scores["task"]),
        "habit_leak": number(scores["habit_leak"]),
        "drift": number(scores["drift"]),
        "axes": {axis: number(found) for axis, found in scores["axes"].items()},
    }


def _told(made: Point) -> str:
    kept = made["axes"][AXES["off_task"]]["value"]
    shares = [f"task {made['task']['value']:.0%}"]
    shares += [f"off-task form kept {kept:.0%}"] if kept is not None else []
    shares += [f"drift {made['drift']['value']:.3f}"] if made["drift"]["value"] is not None else []
    return ", ".join(shares) + (": passes" if made["ship"] == "yes" else ": fails")
