"""The top of the page in plain words: learned, forgotten, may it ship, what next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath

from appliance.console import span
from appliance.gate import remedies
from appliance.report.read import Reading
from appliance.report.shapes import Reason
from appliance.report.state import KILLED
from appliance.run import RunDir

NAMES = {
    "gain": "the task",
    "format": "answering other prompts as before",
    "instruction": "following instructions",
    "knowledge": "knowing facts",
    "reasoning": "reasoning",
    "safety": "safety",
    "drift": "distance from the base",
    "memorization": "training rows recited",
    "canaries": "planted secrets that came out",
}
FORMS = {"drift": "nats", "canaries": "percent"}  # all others are differences of shares
# In the order in which they are told.
MARKS = {
    "no": "lost", "unclear": "unclear", "invalid": "not judged", "not measured": "not measured",
    "yes": "kept",
}  # fmt: skip
LEVELS = ("drift", "memorization", "canaries")  # nothing that is kept: what may not be too much
LEVEL_MARKS = {**MARKS, "no": "too much", "yes": "within the limit"}


def name_of(check: str) -> str:
    """A check or an axis as a hobbyist would call it; `safety, should refuse` keeps its part."""
    axis, _, part = check.partition(", ")
    return NAMES.get(axis, axis.replace("_", " ")) + (f" ({part})" if part else "")


@dataclass(frozen=True)
class Judged:
    """A reason of the verdict. `place`: its place there; `form`: how its number is shown."""

    place: int
    name: str
    reason: Reason
    mark: str
    form: str


@dataclass(frozen=True)
class Step:
    """Something to do next, and the command that does it."""

    text: str
    command: str = ""


def judged(reading: Reading) -> list[Judged]:
    """All checks but the gain, what was lost first."""
    reasons = reading.verdict.reasons if reading.verdict else ()
    found = [_judged(place, r) for place, r in enumerate(reasons) if r.name != "gain"]
    return sorted(found, key=lambda j: list(MARKS).index(j.reason.passed))


def _judged(place: int, reason: Reason) -> Judged:
    marks = LEVEL_MARKS if reason.name in LEVELS else MARKS
    form = FORMS.get(reason.name, "points")
    return Judged(place, name_of(reason.name), reason, marks[reason.passed], form)


def gained(reading: Reading) -> Judged | None:
    reasons = reading.verdict.reasons if reading.verdict else ()
    return next((_judged(n, r) for n, r in enumerate(reasons) if r.name == "gain"), None)


def forgotten(found: list[Judged]) -> str:
    """One sentence over the list of checks."""
    lost = [j.name for j in found if j.reason.passed == "no"]
    unclear = [j.name for j in found if j.reason.passed == "unclear"]
    said = f"Broken: {', '.join(lost)}." if lost else "Nothing that was measured is lost for sure."
    if unclear:
        said += f" Too few items to tell: {', '.join(unclear)}."
    return said


def may_ship(reading: Reading) -> tuple[str, str]:
    """(a word of yes, no, open; the sentence)."""
    verdict, dial = reading.verdict, reading.dial
    if verdict is None:
        return "open", "Not known yet: the gate has not judged it."
    if verdict.ship == "yes":
        return "yes", f"Yes, by the policy `{verdict.preset}`."
    if dial and dial.chosen is not None:
        return "yes", (
            f"Not as trained, but at strength {dial.chosen:g}, where the change of the weights is "
            "scaled down and every check passes."
        )
    broken = " ".join(r.text for r in verdict.reasons if r.passed == "no")
    tried = " At none of the weaker strengths that were tried does it pass." if (
        dial and len(dial.tried) > 1
    ) else ""  # fmt: skip
    return "no", f"No. {broken}{tried}"


def progress(reading: Reading) -> str:
    """How far it is, or how it ended, in a sentence or two."""
    state = reading.state
    stage = f" in the stage {state.stage}" if state.stage else ""
    match state.kind:
        case "running":
            return f"It is running{stage}.{_training(reading)}"
        case "finished":
            return "It came to its end."
        case "refused":
            return "It came to its end, and the gate refused the export."
        case "stopped":
            return f"It was stopped{stage} ({state.text})."
        case "failed":
            return f"It failed{stage}: {state.text}"
        case "silent":
            return f"It ended{stage} without a word: {KILLED}."
        case "ended":
            return f"It ended after the stage {state.stage}, as it was asked to."
        case _:
            return "It has not begun."


def _training(reading: Reading) -> str:
    """` Step 40 of 231, 3m05s so far, about 14m left.`"""
    found = pace(reading)
    if found is None or not found.step:
        return ""
    said = f" Step {found.step:.0f} of {found.steps:.0f}"
    if found.seconds and found.left is not None:
        said += f", {span(found.seconds)} of training so far, about {span(found.left)} left"
    return said + "."


@dataclass(frozen=True)
class Pace:
    """How far a training is; `seconds` so far, and `left` if its steps go on as they did."""

    step: float
    steps: float
    seconds: float | None
    left: float | None


def pace(reading: Reading) -> Pace | None:
    """None where the run is not in its training, or that has not begun."""
    steps = next((e.steps for e in reversed(reading.trained) if e.kind == "train"), None)
    if reading.state.stage != "train" or not steps:
        return None
    last = next((r for r in reversed(reading.metrics) if "loss" in r), {"step": 0.0})
    seconds, step = last.get("seconds"), last["step"]
    left = seconds / step * (steps - step) if seconds and 0 < step <= steps else None
    return Pace(step, steps, seconds, left)


def next_steps(reading: Reading) -> list[Step]:
    state, run = reading.state, str(reading.root)
    if state.running:
        return [Step("Wait: this page renews itself. Ctrl-C stops the training with a checkpoint.")]
    steps: list[Step] = []
    if state.broken or state.kind == "ended":
        steps.append(Step("Go on where it was:", RunDir(reading.root).again))
    if state.broken:
        steps.append(Step("See why it stopped:", shlex.join(["appliance", "doctor", run])))
    if reading.verdict is None:
        return steps or [Step("Begin it:", RunDir(reading.root).again)]
    if may_ship(reading)[0] == "no" and reading.recipe:
        steps += [Step(text) for text in remedies(reading.recipe, reading.verdict.model_dump())]
        steps.append(Step("Or ship it all the same:",
                          shlex.join(["appliance", "export", run, "--force"])))  # fmt: skip
    if reading.training:
        steps.append(Step("Talk to it:", shlex.join(["appliance", "chat", run])))
    if reading.export and "merged" in reading.export.forms:
        merged = str(PurePath(run) / reading.export.forms["merged"])
        steps.append(Step("Serve it:", shlex.join(["vllm", "serve", merged])))
    return steps


def repeat(reading: Reading) -> list[Step]:
    """The commands that make such a run anew, and what else can be made of this one."""
    run, recipe = str(reading.root), str(reading.root / "recipe.yaml")
    steps = [
        Step("The same run once more:",
             shlex.join(["appliance", "train", recipe, "--run", f"{run}-again"])),
    ]  # fmt: skip
    if reading.training:
        steps.append(Step("Measure this one again:", shlex.join(["appliance", "evaluate", run])))
        export = shlex.join(["appliance", "export", run, "--format", "gguf:q8_0"])
        steps.append(Step("Export it for llama.cpp and Ollama:", export))
    steps.append(Step("Make this page anew:", shlex.join(["appliance", "report", run])))
    return steps
