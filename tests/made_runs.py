"""Plans of an ablation, and runs made by hand: without a model."""

from __future__ import annotations

import copy

from appliance.ablate.arms import choose
from appliance.ablate.folder import Plan
from appliance.disk import write_json, write_jsonl
from appliance.recipe import load


def plan_of(*names, seeds=1, sets=()):
    return Plan.of("sft", sets, choose(names), seeds)


def scores(task, leak, kl=(), loss=1.0, safety=(1.0, 0.0), piqa=(1.0, 1.0)):
    return {
        "axes": {"format": {"items": [1.0]}, "safety": {"items": list(safety)}},
        "benchmarks": {"piqa": {"metrics": {"acc": {"items": list(piqa)}}}},
        "task": {"metric": "exact_match", "items": task},
        "habit_leak": {"items": leak},
        "drift": {
            "items": [
                {"id": str(i), "kl": k, "loss": loss + i, "tokens": 2 + i} for i, k in enumerate(kl)
            ]
        },
    }


def write_run(run, recipe, before, after, seconds=(), key=None, cached=False):
    """A finished run, by hand. `seconds`: of its stages."""
    run.create(recipe)
    write_json(run.scores_before, before)
    write_json(run.scores_after, after)
    own = {"from": "cache" if cached else "the base itself", "key": key}
    write_json(run.rehearsal_facts, {"rows": 8, "sources": {"self": own} if key else {}})
    write_json(run.manifest, {"versions": {"torch": "2"}, "machine": {"cores": 2}})
    for stage, took in dict(seconds).items():
        run.event("stage", stage, seconds=took)
    for path in (run.train_rows, run.valid_rows, run.test_rows, run.base_answers):
        write_jsonl(path, [])
    for path in (run.answers_before, run.audit, run.data_facts, run.verdict):
        write_json(path, {})


BASE = scores([0, 0, 1, None], [False, False, False, True])


def measured(
    run,
    task,
    *,
    sets=(),
    leak=(),
    axes=None,
    kl=(),
    rows="held-out",
    data="d1",
    model="m1",
    version="1",
    piqa=(),
    verdict="yes",
):
    """A run by hand that was evaluated, with the answers behind its scores.

    Items are 1, 0 or None (not scored); `axes` by name; those of the base are all 0. `rows` and
    `data` say which rows were held out, and from which file.
    """
    run.create(load("sft", sets))
    off_task = [_item("format", i, float(not x), leak=bool(x)) for i, x in enumerate(leak)]
    said = {"format": off_task} if leak else {}
    said |= {a: [_item(a, i, x) for i, x in enumerate(v)] for a, v in (axes or {}).items()}
    answers = [
        {"probe": "task", "prompt": f"{rows} {i}", "expected": "x", "score": x}
        for i, x in enumerate(task)
    ]
    write_jsonl(run.answers_after, answers + [item for items in said.values() for item in items])
    write_jsonl(
        run.base_answers,
        [{"id": str(i), "prompt": f"p{i}", "answer": "so"} for i in range(len(kl))],
    )
    drift = [{"id": str(i), "kl": k, "loss": 0.5 + k, "tokens": 2 + i} for i, k in enumerate(kl)]
    benchmark = {"version": "v", "shots": 0, "metrics": {"acc": {"items": list(piqa)}}}
    after = {
        "task": {"metric": "exact_match", "items": list(task)},
        "habit_leak": {"items": [bool(x) for x in leak], "style": "short"},
        "axes": {
            axis: {"version": version, "parts": {}, "items": [i["score"] for i in items]}
            for axis, items in said.items()
        },
        "drift": {"items": drift, "loss": 0.5},
        "benchmarks": {"piqa": benchmark} if piqa else {},
        "real_world": None,
    }
    write_json(run.scores_before, _of_the_base(after))
    write_json(run.scores_after, after)
    write_json(run.manifest, {"model": {"name": model, "sha256": model}, "data": [{"sha256": data}],
                              "machine": {"cores": 2}})  # fmt: skip
    write_json(run.verdict, {"ship": verdict, "reasons": []})
    for stage, took in (("rehearse", 10.0), ("train", 60.0), ("evaluate", 30.0)):
        run.event("begins", stage)
        run.event("stage", stage, seconds=took)
    return run


def _item(axis, number, score, **more):
    return {"probe": "axis", "axis": axis, "id": str(number), "prompt": f"{axis} {number}",
            "score": score, **more}  # fmt: skip


def _of_the_base(after):
    before = copy.deepcopy(after)
    parts = [before["task"], before["habit_leak"], *before["axes"].values()]
    for part in parts + [b["metrics"]["acc"] for b in before["benchmarks"].values()]:
        part["items"] = [0.0 for _ in part["items"]]
    return before
