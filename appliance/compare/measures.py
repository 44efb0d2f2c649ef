"""What was measured of one run, item by item, so that two runs can be held against each other.

An item is known by what was asked, not by its place. An answer that could not be scored (cut, not
parsed, set apart as no answer to the question) is not right: of every run the same items count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.disk import read_json, read_jsonl
from appliance.errors import RunError
from appliance.run import RunDir
from appliance.statistics import mean, nested, share

Unit = Literal["share", "change", "nats"]
Better = Literal["more", "less"]
Key = tuple[Hashable, ...]
Scores = Mapping[str, Any]
GAIN, LEAK = "gain on the task", "habit leak off task"
ACCURACIES = ("acc_norm", "acc", "exact_match")  # of a benchmark the first that it has, as the gate


@dataclass(frozen=True)
class Measure:
    """One measure of one run. A share's items are 0 to 1, a change's -1 to 1, nats are per token.

    `basis`: what has to be the same in two runs, or their items are not the same measure's.
    `base`: what the base reaches, counted in the same way. `unscored`: items counted as not right.
    `weights`: of the items in the mean; unset: all alike.
    """

    name: str
    unit: Unit
    better: Better
    items: Mapping[Key, float]
    basis: tuple[str, ...] = ()
    base: float | None = None
    unscored: int = 0
    weights: Mapping[Key, float] = field(default_factory=dict)

    def figure(self) -> dict[str, Any]:
        """Value with its 95 % interval and n."""
        values = list(self.items.values())
        if self.weights:
            return nested([values], [[self.weights[key] for key in self.items]])
        if self.unit == "share" and set(values) <= {0.0, 1.0}:
            return share([value == 1 for value in values])
        return mean(values)


@dataclass(frozen=True)
class Files:
    """What the measures are read from."""

    run: RunDir
    before: Scores
    after: Scores
    answers: Sequence[Mapping[str, Any]]

    def of(self, probe: str, **facts: str) -> list[Mapping[str, Any]]:
        found = (item for item in self.answers if item["probe"] == probe)
        return [i for i in found if all(i.get(key) == value for key, value in facts.items())]


def read(run: RunDir, base: str) -> tuple[dict[str, Measure], list[str]]:
    """(the measures by name, what could not be read). `base` names the run's base model.

    Empty where the run was not evaluated yet.
    """
    if not run.scores_after.is_file():
        return {}, []
    try:
        files = Files(
            run,
            read_json(run.scores_before),
            read_json(run.scores_after),
            read_jsonl(run.answers_after),
        )
    except RunError as error:
        return {}, [error.what]
    found: dict[str, Measure] = {}
    faults = []
    for part in (_task, _leak, _axes, lambda f: _drift(f, base), _benchmarks, _memory, _real):
        try:
            found |= {measure.name: measure for measure in part(files)}
        except RunError as error:
            faults.append(error.what)
        except (TypeError, ValueError):
            faults.append(f"{run.scores_after} and {run.answers_after} do not belong together.")
    return found, list(dict.fromkeys(faults))


def _numbered(keys: Iterable[Key]) -> list[Key]:
    """What is asked twice is two items."""
    seen: Counter[Key] = Counter()
    out: list[Key] = []
    for key in keys:
        seen[key] += 1
        out.append((*key, seen[key]))
    return out


def _right(value: float | None) -> float:
    return 0.0 if value is None else float(value)


def _mean(values: Iterable[float | None]) -> float | None:
    found = [_right(value) for value in values]
    return sum(found) / len(found) if found else None


def _task(files: Files) -> list[Measure]:
    """The score on the held-out rows, and the gain over the base row by row."""
    task, base = files.after["task"], files.before["task"]
    if not task["items"]:
        return []
    pairs = task["metric"] == "reward_accuracy"
    asked = files.of("preference" if pairs else "task")
    keys = _numbered((item["prompt"], item.get("expected", "")) for item in asked)
    metric = str(task["metric"])
    scored = dict(zip(keys, map(_right, task["items"]), strict=True))
    before = dict(zip(keys, map(_right, base["items"]), strict=True))
    return [
        Measure(f"task, {_said(metric)}", "share", "more", scored, (metric,),
                _mean(before.values()), sum(v is None for v in task["items"])),
        Measure(GAIN, "change", "more", {key: scored[key] - before[key] for key in keys},
                (metric,)),
    ]  # fmt: skip


def _said(metric: str) -> str:
    return metric.replace("_", " ").replace("rouge l", "ROUGE-L")


def _leak(files: Files) -> list[Measure]:
    """Off-task prompts that were too long to be asked are no answers in any style."""
    asked = [item for item in files.of("axis", axis="format") if item.get("leak") is not None]
    keys = _numbered((item["id"], item["prompt"]) for item in asked)
    leaks = {key: float(item["leak"]) for key, item in zip(keys, asked, strict=True)}
    base = [leak for leak in files.before["habit_leak"]["items"] if leak is not None]
    return [Measure(LEAK, "share", "less", leaks, base=_mean(base))] if leaks else []


def _axes(files: Files) -> list[Measure]:
    """Each axis; where it has parts that may fall apart (safety's two), each part."""
    found = []
    for axis, mine in files.after["axes"].items():
        items = files.of("axis", axis=axis)
        keys = _numbered((item["id"], item["prompt"]) for item in items)
        if len(items) != len(mine["items"]):
            raise ValueError(f"{axis}: other answers than scores")
        before = files.before["axes"].get(axis, {"items": []})["items"]
        for part, places in (mine["parts"] or {"": range(len(items))}).items():
            values = {keys[i]: _right(mine["items"][i]) for i in places}
            found.append(
                Measure(
                    f"{axis}, {part}" if part else axis, "share", "more", values,
                    (f"version {mine['version']} of the suite",),
                    _mean([before[i] for i in places]) if before else None,
                    sum(mine["items"][i] is None for i in places),
                )
            )  # fmt: skip
    return found


def _drift(files: Files, base: str) -> list[Measure]:
    """KL and loss on what the base said: the same text of the same base, or it is another item."""
    items = files.after["drift"]["items"]
    if not items:
        return []
    said = {
        item["id"]: (item["prompt"], item["answer"]) for item in read_jsonl(files.run.base_answers)
    }
    keys: list[Key] = [(item["id"], *said[item["id"]]) for item in items]
    both = list(zip(keys, items, strict=True))
    tokens = {key: float(item["tokens"]) for key, item in both}
    basis = (f"the base {base}",)
    return [
        Measure("drift from the base", "nats", "less", {k: float(i["kl"]) for k, i in both}, basis),
        Measure("loss on the base's answers", "nats", "less",
                {k: float(i["loss"]) for k, i in both}, basis,
                files.before["drift"]["loss"], weights=tokens),
    ]  # fmt: skip


def _benchmarks(files: Files) -> list[Measure]:
    """The first items of each are asked, so a place is an item."""
    found = []
    for name, mine in (files.after.get("benchmarks") or {}).items():
        metrics = mine["metrics"]
        metric = next((m for m in ACCURACIES if "items" in metrics.get(m, {})), None)
        if metric is None:
            continue  # the harness's own numbers of it stand in the scores
        base = (files.before.get("benchmarks") or {}).get(name, {}).get("metrics", {})
        found.append(
            Measure(
                f"{name}, {_said(metric)}", "share", "more",
                {(i,): float(v) for i, v in enumerate(metrics[metric]["items"])},
                (f"version {mine['version']}", f"{mine['shots']} shots"),
                _mean(base.get(metric, {}).get("items", [])),
            )
        )  # fmt: skip
    return found


def _memory(files: Files) -> list[Measure]:
    """Training rows recited, how much likelier they are than others, secrets that came out."""
    recited = files.of("memorization", part="recitation", of="train")
    gaps = [g for g in files.of("memorization", part="loss_gap")
            if None not in (g["loss"], g["twin_loss"])]  # fmt: skip
    secrets = files.of("memorization", part="canary")
    kinds: list[tuple[str, Unit, Sequence[Mapping[str, Any]], Callable[[Any], tuple[Key, float]]]]
    kinds = [
        ("training rows recited", "share", recited,
         lambda i: ((i["prompt"], i["given"]), float(i["recited"]))),
        ("loss of held-out rows over training rows", "nats", gaps,
         lambda i: ((i["prompt"], i["expected"], i["twin"]), i["twin_loss"] - i["loss"])),
        ("planted secrets exposed", "share", secrets,
         lambda i: ((i["prompt"], i["code"]), float(i["exposed"]))),
    ]  # fmt: skip
    found = []
    for name, unit, items, of in kinds:
        pairs = [of(item) for item in items]
        keys = _numbered(key for key, _ in pairs)
        values = dict(zip(keys, (value for _, value in pairs), strict=True))
        found += [Measure(name, unit, "less", values)] if values else []
    return found


def _real(files: Files) -> list[Measure]:
    """The rows of `evaluate.real_world`."""
    real = files.after.get("real_world")
    if not real or not real["items"]:
        return []
    items = files.of("real_world")
    keys = _numbered((item["prompt"], item.get("expected", "")) for item in items)
    metric = str(real["metric"])
    return [
        Measure(f"real rows, {_said(metric)}", "share", "more",
                dict(zip(keys, map(_right, real["items"]), strict=True)), (metric,),
                _mean((files.before.get("real_world") or {"items": []})["items"]),
                sum(v is None for v in real["items"])),
    ]  # fmt: skip
