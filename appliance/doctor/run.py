"""Where a run stopped, why, and what to type: `appliance doctor RUN`."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from appliance.disk import read_log
from appliance.doctor.checks import Line
from appliance.errors import ApplianceError
from appliance.pipeline import COMPARING, STAGES, Stage
from appliance.recipe import Recipe
from appliance.report.shapes import Event
from appliance.report.state import KILLED, State, look
from appliance.run import RunDir, held
from appliance.train.checkpoint import Checkpoints, step_of

SILENT = f"nothing was written when it ended: {KILLED}"
FEWER = "it came to the end of what was asked for, or was killed between two stages"


def examine(folder: Path) -> list[Line]:
    """Raises RunError when `folder` is no run. Changes nothing in it."""
    run = RunDir.open(folder)
    try:
        recipe = run.recipe()
    except ApplianceError as error:
        do = "Start anew in another --run: without its recipe nothing can go on."
        return [Line("recipe", "fail", error.what, do)]
    events = _events(run)
    if isinstance(events, str):
        return [Line("events", "fail", events, f"Start anew, or: {run.again}")]
    stopped = next((s for s in stages(recipe) if not s.done(run).is_file()), None)
    lines = [
        Line("done", "ok", ", ".join(s.name for s in stages(recipe) if s.done(run).is_file())
             or "nothing yet"),
    ]  # fmt: skip
    if held(run.root):
        where = stopped.name if stopped else "nothing"
        return [*lines, Line("now", "ok", f"a process has it and works on {where}")]
    if stopped is None:
        return [*lines, Line("end", "ok", "it came to its end", f"Read {run.report}.")]
    lines += [
        Line("stopped in", "warn", stopped.name),
        Line("why", "warn", *why(look(events, running=False))),
    ]
    if stopped.name == "train":
        lines.append(_checkpoint(run, recipe))
    return [*lines, Line("go on", "ok", "the same command, or this one", run.again)]


def stages(recipe: Recipe) -> list[Stage]:
    """Those that such a run goes through."""
    return [s for s in STAGES if not recipe.evaluate.tuned or s.name in COMPARING]


def why(state: State) -> tuple[str, str]:
    """(what its last words say, what to do)."""
    match state.kind:
        case "ended":
            return FEWER, ""
        case "silent" | "new":
            return SILENT, "Look at `dmesg`; where memory was short, lower train.micro_batch."
        case "stopped":
            return f"{state.text} at {state.time}", ""
    return state.text, ""


def _events(run: RunDir) -> list[Event] | str:
    """The events, or what is wrong with them."""
    try:
        return [Event.model_validate(event) for event in read_log(run.events)]
    except ApplianceError as error:
        return error.what
    except ValidationError:
        return f"{run.events} holds a line that is no event."


def _checkpoint(run: RunDir, recipe: Recipe) -> Line:
    found = Checkpoints(run.trainer, recipe.train.checkpoints).all()
    if not found:
        return Line("checkpoint", "warn", "none: training begins anew")
    return Line("checkpoint", "ok", f"after step {step_of(found[0])}")
