"""Run directories for the tests of the report: made by hand, and by the real writers where these
need no model (recipe, events, intervals, gate).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance import statistics
from appliance.disk import write_json, write_jsonl
from appliance.gate import decide, examples
from appliance.recipe import Recipe, load
from appliance.run import RunDir

AXES = ("format", "instruction", "knowledge", "reasoning", "safety")
STAGES = ("data", "baseline", "rehearse", "train", "evaluate", "gate", "dial", "export", "report")
HOSTILE = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\"> $x_1$"


def share(values: Sequence[float | None]) -> dict[str, Any]:
    found = statistics.share([v == 1 for v in values if v is not None])
    return {**found, "asked": len(values), "cut": 0, "errors": 0, "items": list(values)}


def drawn(right: float, n: int, seed: int) -> list[float]:
    """About `right` of `n` ones, the same for a seed; a higher share keeps a lower one's ones."""
    draw = random.Random(seed)
    return [float(draw.random() < right) for _ in range(n)]


def items(when: str, axis: str, values: Sequence[float], said: str) -> list[dict[str, Any]]:
    return [
        {"probe": "axis", "axis": axis, "id": str(i), "level": 1 + i % 3, "part": "",
         "prompt": f"{axis} {i}: {said}?", "answer": f"{when} {i} {said} {value:g}",
         "cut": False, "error": "", "apart": "", "score": value}
        for i, value in enumerate(values)
    ]  # fmt: skip


def scores(
    when: str, task: float, kept: float, kl: float, said: str, n: int = 64
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(scores, items) with `task` of the task right and `kept` of each axis."""
    right = drawn(task, 162, 1)
    parts = {axis: drawn(kept, n, seed) for seed, axis in enumerate(AXES)}
    found = [
        {"probe": "task", "prompt": f"ticket {i}: {said}", "expected": f"queue={i}; {said}",
         "answer": f"queue={i if v else 'no'}; {said}", "score": v, "cut": False, "error": ""}
        for i, v in enumerate(right)
    ]  # fmt: skip
    for axis, values in parts.items():
        found += items(when, axis, values, said)
    found += [
        {"probe": "memorization", "part": "recitation", "of": of, "source": "a:1", "prompt": said,
         "given": f"it begins {said}", "expected": "one two three four five six seven eight",
         "answer": "one two three four five six seven eight", "run": 8, "words": 8,
         "recited": i == 0 and of == "train" and when == "after"}
        for of in ("train", "held-out")
        for i in range(8)
    ]  # fmt: skip
    recited = [bool(f["recited"]) for f in found if f.get("of") == "train"]
    leak = [1 - v for v in parts["format"]]
    return {
        "version": 2,
        "when": when,
        "task": {"metric": "exact_match", **share(right), "undecided": 0, "loss": 1.2},
        "habit_leak": {"style": f"has {said}", **share(leak)},
        "axes": {
            axis: {"version": "1", **share(values), "apart": {}, "chance": 0.0, "parts": {}}
            for axis, values in parts.items()
        },
        "drift": {**statistics.mean([kl * (1 + i / 50) for i in range(32)]), "loss": 0.68 + kl,
                  "tokens": 900, "items": []},
        "memorization": {
            "recitation": {
                **statistics.share(recited),
                "control": statistics.share([False] * 8),
                "difference": statistics.share_difference(recited, [False] * 8),
            },
            "loss_gap": statistics.mean([0.1, 0.3, 0.2]),
            "canaries": {"n": 0, "value": None, "interval": None, "not_measured": "off"},
        },
        "real_world": None,
        "alternatives": {
            "version": 1, "measured": True, "metric": "exact_match",
            "ways": {
                "zero_shot": share(drawn(0.02, 48, 5)) | {"tokens": 60.0, "shown": 0.0},
                "few_shot": share(drawn(0.4, 48, 6)) | {"tokens": 310.0, "shown": 4.0},
                "retrieval": {"value": None, "interval": None, "n": 0, "why": f"no room {said}"},
            },
            "tuned": share(right[:48]),
            "recommendation": {"text": f"Fine-tuning adds {said}.", "reasons": [f"So {said}."]},
        },
    }, found  # fmt: skip


def preferences(found: dict[str, Any], margin: float) -> None:
    """The task's scores as those of held-out pairs."""
    found["task"] |= {
        "metric": "reward_accuracy",
        "reward_margin": statistics.mean([margin * i / 8 for i in range(16)]),
        "chosen_likelier": share([1.0, 0.0]),
        "chosen_logp": statistics.mean([-80.0 - margin - i for i in range(16)]),
        "rejected_logp": statistics.mean([-90.0 - 3 * margin - i for i in range(16)]),
    }


def metrics(run: RunDir, steps: int, *, dpo: bool = False, every: int = 1) -> None:
    """metrics.jsonl of so many steps, of which each `every`th was measured."""
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = 2.5 * math.exp(-4 * step / steps) + 0.05 + 0.05 * draw.random()
        row = {"step": step, "epoch": 3 * step / steps, "loss": loss, "grad_norm": 1.0,
               "learning_rate": 2e-4, "num_tokens": 480.0 * step, "seconds": 1.9 * step,
               "memory_gib": 2.0 + step / steps}  # fmt: skip
        if dpo:
            done = step / steps
            row |= {"rewards/margins": done, "rewards/accuracies": 0.5 + 0.4 * done,
                    "rewards/chosen": -done, "rewards/rejected": -2 * done,
                    "logps/chosen": -80 - done, "logps/rejected": -90 - 3 * done}  # fmt: skip
        rows.append(row)
        if step % every == 0:
            rows.append({"step": step, "held_out_loss": loss + 0.1})
            rows.append({"step": step, "drift": 0.3 * step / steps})
    write_jsonl(run.metrics, rows)


def audit(said: str) -> dict[str, Any]:
    """audit.json with each of its parts."""
    bins = [{"from": 10 * n, "to": 10 * n + 9, "rows": 40 - n} for n in range(20)]
    spread = {"median": 60, "p95": 150, "p99": 190, "most": 260, "histogram": bins}
    return {
        "version": 1, "verdict": "warn", "blocked_by": [], "blocks": [], "near": 0.8,
        "rows": {"read": 810, "broken": 0, "set_aside": 2, "train": 616, "valid": 32, "test": 162},
        "findings": [
            {"kind": "truncated", "title": "cut at model.max_length", "level": "warn", "rows": 3,
             "share": 0.005, "parts": {"train": 3}, "lines": {f"/data/{said}.jsonl": [3, 9, 14]},
             "examples": [{"where": "a:3", "prompt": said, "answer": said, "note": said,
                           "like": {"where": "a:9", "prompt": said, "answer": said}}],
             "facts": {"tokens cut": 210, "said": said}, "why": "It loses its end.",
             "do": "Raise model.max_length."},
        ],
        "lengths": {
            "words": {"unit": "words", "prompt": spread, "answer": spread},
            "tokens": {"unit": "tokens", "sample": 616, "of": 616, "limit": 150, **spread},
        },
        "labels": {"count": 2, "most": 400, "least": 216,
                   "balance": [{"label": said, "rows": 400}, {"label": "two", "rows": 216}]},
        "clusters": [{"words": ["one", said], "rows": 300, "share": 0.5, "thin": True,
                      "examples": [said, "b"]}],
        "diversity": {}, "length_bias": None, "seconds": 0.4,
    }  # fmt: skip


def training(recipe: Recipe, steps: int) -> dict[str, Any]:
    """train.json."""
    return {
        "rows": 616, "rows_cut": 3, "rows_without_answer_after_cut": 1, "tokens": 37250,
        "tokens_bearing_loss": 5215, "share_bearing_loss": 0.14, "example": "x", "steps": steps,
        "steps_after_a_stop": None, "seconds": 439.1, "tokens_per_second": 254.5,
        "weights_trained": 4884480, "weights": 134515008, "peak_memory_gib": 3.1,
        "rehearsal_sources": {"self": {"asked_share": 1.0, "rows": 400, "taken": 792, "used": 400,
                                       "left_over": 0, "repeated": 392, "tokens": 57000}},
        "rehearsed": {"rows": 792, "tokens": 57000, "last_kl": 0.01}, "ewc": None,
        "last_loss": 0.009, "held_out_loss": 0.039, "best_step": steps, "held_out_rows": 32,
        "last_drift": 0.009, "stopped_early": False, "stopped_by_alarm": None,
        "seconds_measuring": {"held_out": 3.0, "drift": 9.0},
    }  # fmt: skip


def begun(root: Path, method: str = "sft", said: str = "plain", *overrides: str) -> RunDir:
    """A run that has come to its training."""
    run = RunDir(root)
    run.create(load(method, overrides))
    write_json(run.audit, audit(said))
    write_json(run.data_facts, {"rows": {"train": 616, "valid": 32, "test": 162}})
    write_json(run.manifest, {
        "time": "2026-11-27T01:00:00+00:00", "appliance": "1", "seed": 3407,
        "versions": {"torch": "2.13.0"}, "machine": {"cores": 2, "device": "cpu"},
        "recipe_sha256": "ab" * 32, "data": [{"path": f"/d/{said}", "sha256": "cd" * 32}],
        "model": {"name": said, "sha256": "ef" * 32},
    })  # fmt: skip
    before, answers = scores("before", 0.02, 0.85, 0.0, said)
    if method == "dpo":
        preferences(before, 0.0)
    write_json(run.scores_before, before)
    write_jsonl(run.answers_before, answers)
    write_json(run.rehearsal_facts, {"rows": 400, "sources": {"self": {"rows": 400}}})
    for stage in STAGES[:3]:
        run.event("begins", stage)
        run.event("stage", stage, seconds=60.0, processor_seconds=100.0)
    run.event("begins", "train")
    run.event("train", "training begins", steps=231)
    return run


def whole(
    root: Path,
    method: str = "sft",
    said: str = "plain",
    *overrides: str,
    steps: int = 231,
    kept: float = 0.82,
    task: float = 0.8,
    chosen: float | None = 1.0,
) -> RunDir:
    """A run that came to its end. `kept` low: the gate says no; `chosen`: the dial's strength."""
    run = begun(root, method, said, *overrides)
    recipe = run.recipe()
    metrics(run, steps, dpo=method == "dpo", every=max(1, steps // 4))
    write_json(run.train_facts, training(recipe, steps))
    run.event("alarm", f"The loss is low {said}.", name="loss_under", step=steps // 2,
              action="warn")  # fmt: skip
    run.event("note", f"noted {said}", name="best", step=steps)
    after, answers = scores("after", task, kept, 0.01 + (0.85 - kept), said)
    if method == "dpo":
        preferences(after, 0.4)
    write_json(run.scores_after, after)
    write_jsonl(run.answers_after, answers)
    for stage in STAGES[3:5]:
        run.event("stage", stage, seconds=100.0, processor_seconds=180.0)
    _judged(run, recipe, after, answers, chosen)
    if chosen is not None:
        _exported(run, chosen)
    return run


def _judged(run: RunDir, recipe: Recipe, after: Any, answers: Any, chosen: float | None) -> None:
    """verdict.json by the real gate, and dial.json."""
    before = json.loads(run.scores_before.read_text())
    said = [json.loads(line) for line in run.answers_before.read_text().splitlines()]
    verdict = decide(before, after, recipe.policy)
    write_json(run.verdict, verdict.as_json() | {"examples": examples(verdict, said, answers)})
    points = []
    if verdict.ship == "no":
        for strength in (1.0, 0.7, 0.4):
            lost = 0.85 - after["axes"]["format"]["value"]
            found, _ = scores("after", 0.8 * strength, 0.85 - lost * strength, 0.1 * strength, "")
            points.append({
                "strength": strength, "ship": "yes" if strength == chosen else "no",
                "whole": strength == chosen or strength == 1,
                **{part: {k: found[part][k] for k in ("value", "interval", "n")}
                   for part in ("task", "habit_leak", "drift")},
                "axes": {axis: {k: s[k] for k in ("value", "interval", "n")}
                         for axis, s in found["axes"].items()},
            })  # fmt: skip
    write_json(run.dial, {"tried": points, "chosen": chosen, "verdict": None})


def _exported(run: RunDir, strength: float) -> None:
    write_json(run.proof, {
        "time": "2026-11-27T02:00:00+00:00", "strength": strength, "holds": True,
        "not_measured": [], "checks": [
            {"form": "merged", "name": "weights", "holds": True, "text": "all weights agree",
             "numbers": {}},
            {"form": "merged", "name": "stops", "holds": None, "text": "not measured",
             "numbers": {}},
        ]})  # fmt: skip
    write_json(run.export_facts, {
        "time": "2026-11-27T02:00:00+00:00", "verdict": "yes", "strength": strength,
        "forced": False, "adapter_sha256": "ab", "merged": {},
        "forms": {"merged": "export/merged"}, "files": {},
    })  # fmt: skip
    for stage in STAGES[5:]:
        run.event("begins", stage)
        run.event("stage", stage, seconds=10.0, processor_seconds=10.0)
