"""Ablations without a model: plans, and finished runs made by hand."""

from __future__ import annotations

from appliance.ablate.arms import choose
from appliance.ablate.folder import Plan
from appliance.disk import write_json, write_jsonl


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
