"""The comparison in sentences: which run is better on what, and what the numbers do not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.compare.column import Column, money
from appliance.compare.differences import Difference
from appliance.compare.figures import signed
from appliance.console import span
from appliance.report.words import progress

Against = Mapping[str, Sequence[Difference]]


def sentences(found: Sequence[Column], against: Against) -> dict[str, str]:
    """For every later run what it does better and worse than the first, and what is noise."""
    first, *rest = found
    said = {}
    for run in rest:
        left = [f"{one.name}: {one.unmeasured}" for one in (first, run) if one.unmeasured]
        said[run.name] = f"{run.name} against {first.name}: " + (
            f"{_judgement(against[run.name])}{_cost(run, first)}"
            if run.name in against
            else f"not compared ({'; '.join(left)})."
        )
    return said


def _judgement(apart: Sequence[Difference]) -> str:
    better, worse, noise, left = (
        [d for d in apart if d.found == kind]
        for kind in ("better", "worse", "noise", "not compared")
    )
    parts = [
        f"{word} on {'; '.join(map(_one, ones))}"
        for word, ones in (("better", better), ("worse", worse)) if ones
    ]  # fmt: skip
    if not parts:
        parts = ["no difference is more than noise"]
    elif noise:
        parts.append(f"no more than noise on {'; '.join(map(_one, noise))}")
    if left:
        whys: dict[str, list[str]] = {}
        for one in left:
            whys.setdefault(one.text, []).append(one.measure)
        told = "; ".join(f"{', '.join(names)} ({why})" for why, names in whys.items())
        parts.append(f"not compared: {told}")
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def _one(apart: Difference) -> str:
    samples = "" if apart.paired else ", two samples"
    return (
        f"{apart.measure} ({signed(apart.unit, apart.value, apart.interval)}, n={apart.n}{samples})"
    )


def _cost(run: Column, first: Column) -> str:
    mine, theirs = run.training_seconds, first.training_seconds
    if mine is None or theirs is None:
        return ""
    apart = span(abs(mine - theirs))
    how = f"{apart} {'more' if mine > theirs else 'less'} than" if apart != "0s" else "as long as"
    return f" Rehearsal and training took {span(mine)}, {how} {first.name}'s."


def over(run: Column) -> bool:
    """Did it come to its end?"""
    return run.reading.state.kind in ("finished", "refused")


def notes(found: Sequence[Column], against: Against) -> list[str]:
    """What has to be said beside the figures."""
    said = [f"{run.name}: {progress(run.reading)}" for run in found if not over(run)]
    said += [f"{run.name}: {fault}" for run in found for fault in run.faults]
    said += [
        f"{run.name} is measured as it was trained; what passes the gate is its adapter at "
        f"strength {run.strength:g}."
        for run in found
        if run.strength is not None
    ]
    measured = [run for run in found if run.evaluated]
    if len({run.base for run in measured}) > 1:
        bases = "; ".join(f"{run.name}: {run.base}" for run in measured)
        said.append(f"The bases differ ({bases}), so drift and loss on the base's answers do too.")
    if len({run.style for run in measured}) > 1:
        said.append("The habit leak is each run's by the style of its own task's answers.")
    unscored = {
        run.name: f"{run.name} {', '.join(counts)}"
        for run in found
        if (counts := [f"{m.name} {m.unscored}" for m in run.measures.values() if m.unscored])
    }
    if unscored:
        said.append(
            "Answers that could not be scored (cut, not parsed, no answer to the question) count "
            "as not right here, so that every run has the same items; in a run's own report they "
            f"are left out. So many: {'; '.join(unscored.values())}."
        )
    machines = {str((run.reading.manifest or {}).get("machine")) for run in measured}
    if len(machines) > 1:
        said.append("The runs are of other machines, so their times are not of the same pace.")
    sources = [paid["source"] for run in found if (paid := money(run))]
    if sources:
        listed = "; ".join(dict.fromkeys(sources))
        said.append(f"Money is the time of the whole run at the price of an hour ({listed}).")
    called = sum(d.found != "not compared" for apart in against.values() for d in apart)
    if called > 1:
        said.append(
            f"{called} differences were looked at: by chance alone one in twenty of those that are "
            "none would be called one."
        )
    return said
