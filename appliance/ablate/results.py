"""What the runs of an ablation came to, read from their files alone.

Items are paired: gain, leak and retention are differences of the same item before and after, and
an arm is compared with `plain` item by item within a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.ablate.folder import Folder, Plan
from appliance.disk import read_json, read_log
from appliance.run import RunDir, now
from appliance.statistics import nested, share

VERSION = 2  # of the results' form
TRAINING = ("rehearse", "train")  # the stages in which arms differ
PLAIN = "plain"
Items = dict[Hashable, float]


@dataclass
class Measured:
    """One finished run, by item. Shares as 0 to 1, drift and loss in nats per token."""

    before: Items
    after: Items
    leak: Items
    gain: Items
    retention: Items
    drift: Items
    loss: Items
    tokens: Items
    axes: dict[str, Items] = field(default_factory=dict)  # after less before, benchmarks too
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage
    rehearsal: dict[str, Any] = field(default_factory=dict)

    @property
    def training(self) -> Items:
        """Seconds of rehearse and train."""
        return {"": sum(self.seconds.get(stage, 0.0) for stage in TRAINING)}

    @property
    def whole(self) -> Items:
        """Seconds of the whole run, as if it had been alone."""
        return {"": sum(self.seconds.values())}


def finished(run: RunDir) -> bool:
    return bool(run.verdict.is_file())


def failure(run: RunDir) -> str | None:
    """The sentence of the error that ended it; None where it ended well or was only stopped."""
    if finished(run) or not run.events.is_file():
        return None
    last = read_log(run.events)[-1]
    return str(last["text"]) if last["kind"] == "error" else None


def measured(run: RunDir) -> Measured:
    """Raises RunError when a file is missing or damaged."""
    before, after = read_json(run.scores_before), read_json(run.scores_after)
    task, leak = (_both(before[part], after[part]) for part in ("task", "habit_leak"))
    drift = {item["id"]: item for item in after["drift"].get("items", ())}
    written = read_json(run.rehearsal_facts).get("sources", {}).get("self", {})
    return Measured(
        before={i: b for i, (b, _) in task.items()},
        after={i: a for i, (_, a) in task.items()},
        leak={i: a for i, (_, a) in leak.items()},
        gain={i: a - b for i, (b, a) in task.items()},
        retention={i: 1 - (a - b) for i, (b, a) in leak.items()},
        drift={i: item["kl"] for i, item in drift.items()},
        loss={i: item["loss"] for i, item in drift.items()},
        tokens={i: item["tokens"] for i, item in drift.items()},
        axes=_axes(before, after),
        seconds=stage_seconds(run),
        rehearsal=written,
    )


def _both(before: dict[str, Any], after: dict[str, Any]) -> dict[int, tuple[float, float]]:
    """Items that were scored both times, by their place."""
    pairs = enumerate(zip(before["items"], after["items"], strict=True))
    return {i: (float(b), float(a)) for i, (b, a) in pairs if b is not None and a is not None}


def _axes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Items]:
    """Of every axis but the format, which is the leak, and every benchmark: each item's change.

    An answer that training made impossible to judge (in the task's form, none at all) is not right.
    """
    found: dict[str, Items] = {}
    for axis, mine in after["axes"].items():
        if axis != "format" and axis in before["axes"]:
            pairs = enumerate(zip(before["axes"][axis]["items"], mine["items"], strict=True))
            found[axis] = {i: (a or 0.0) - b for i, (b, a) in pairs if b is not None}
    for name, mine in (after.get("benchmarks") or {}).items():
        items = [side["metrics"].get("acc", {}) for side in (before["benchmarks"][name], mine)]
        if all("items" in side for side in items):
            pairs = enumerate(zip(items[0]["items"], items[1]["items"], strict=True))
            found[name] = {i: a - b for i, (b, a) in pairs}
    return found


def stage_seconds(run: RunDir, own: bool = False) -> dict[str, float]:
    """Wall seconds of each stage, the last time that it ended.

    `own`: without those whose files came from another run.
    """
    events = read_log(run.events)
    return {
        e["text"]: e["seconds"]
        for e in events
        if e["kind"] == "stage" and not (own and e.get("taken_from"))
    }


def gather(folder: Folder, plan: Plan) -> dict[str, Any]:
    """All of results.json but the recommendation."""
    runs: dict[str, dict[int, Measured]] = {arm.name: {} for arm in plan.arms}
    failed: dict[str, dict[str, str]] = {arm.name: {} for arm in plan.arms}
    manifest: dict[str, Any] = {}
    for arm in plan.arms:
        for seed in plan.seeds:
            run = folder.run(arm.name, seed)
            if finished(run):
                runs[arm.name][seed] = measured(run)
                manifest = manifest or read_json(run.manifest)
            elif error := failure(run):
                failed[arm.name][str(seed)] = error
    everyone = [m for by_seed in runs.values() for m in by_seed.values()]
    cached = price_of_rehearsal(everyone)
    given = plan.as_json()
    return {
        "version": VERSION,
        "time": now(),
        "recipe": plan.name,
        "overrides": list(plan.overrides),
        "recipe_sha256": given["recipe_sha256"],
        "model": given["resolved"]["model"]["name"],
        "data": given["resolved"]["data"]["train"],
        "seeds": list(plan.seeds),
        "metric": _metric(folder, plan),
        "rehearsal_was_in_the_cache": cached,
        "arms": {
            arm.name: {
                "text": arm.text,
                "changes": given["arms"][arm.name],
                "failed": failed[arm.name],
                **summary(runs[arm.name]),
                "to_plain": None
                if arm.name == PLAIN or not runs.get(PLAIN)
                else compare(runs[arm.name], runs[PLAIN]),
            }
            for arm in plan.arms
        },
        "versions": manifest.get("versions"),
        "machine": manifest.get("machine"),
    }


def _metric(folder: Folder, plan: Plan) -> str | None:
    for arm in plan.arms:
        for seed in plan.seeds:
            run = folder.run(arm.name, seed)
            if finished(run):
                return str(read_json(run.scores_after)["task"]["metric"])
    return None


def price_of_rehearsal(runs: Sequence[Measured]) -> bool:
    """The base writes its dialogues once, for the first run that wants them: each pays for it.

    True where none of these runs wrote those that it used: they were in the cache before.
    """
    cached = False
    for key in {m.rehearsal["key"] for m in runs if "key" in m.rehearsal}:
        same = [m for m in runs if m.rehearsal.get("key") == key]
        most = max(m.seconds.get("rehearse", 0.0) for m in same)
        for m in same:
            m.seconds["rehearse"] = most
        cached = cached or all(m.rehearsal.get("from") == "cache" for m in same)
    return cached


def summary(by_seed: Mapping[int, Measured]) -> dict[str, Any]:
    """Each measure with its interval over seeds and items, n and the number of seeds."""
    runs = list(by_seed.values())

    def over(items: Callable[[Measured], Items]) -> list[list[float]]:
        return [list(items(m).values()) for m in runs]

    return {
        "seeds": list(by_seed),
        "before": nested(over(lambda m: m.before)),
        "after": nested(over(lambda m: m.after)),
        "gain": nested(over(lambda m: m.gain)),
        "habit_leak": shares(over(lambda m: m.leak)),
        "retention": shares(over(lambda m: m.retention)),
        "drift": nested(over(lambda m: m.drift)),
        "loss": nested(over(lambda m: m.loss), over(lambda m: m.tokens)),
        "axes": {
            axis: nested([list(m.axes.get(axis, {}).values()) for m in runs])
            for axis in dict.fromkeys(axis for m in runs for axis in m.axes)
        },
        "training_seconds": nested(over(lambda m: m.training)),
        "seconds": nested(over(lambda m: m.whole)),
    }


def compare(mine: Mapping[int, Measured], plain: Mapping[int, Measured]) -> dict[str, Any]:
    """This arm less plain, over the items that both have, within the seeds that both have."""
    both = [(mine[seed], plain[seed]) for seed in mine if seed in plain]

    def less(items: Callable[[Measured], Items]) -> dict[str, Any]:
        pairs = [(items(m), items(p)) for m, p in both]
        return nested([[m[i] - p[i] for i in m if i in p] for m, p in pairs])

    return {
        "gain": less(lambda m: m.gain),
        "habit_leak": less(lambda m: m.leak),
        "retention": less(lambda m: m.retention),
        "drift": less(lambda m: m.drift),
        "training_seconds": less(lambda m: m.training),
    }


def shares(groups: Sequence[Sequence[float]]) -> dict[str, Any]:
    """As `nested`; where every item is alike, which a bootstrap cannot see past, Wilson's."""
    found = nested(groups)
    alike = {value for values in groups for value in values}
    if alike in ({0.0}, {1.0}):
        found["interval"] = share([value == 1 for values in groups for value in values])["interval"]
    return found
