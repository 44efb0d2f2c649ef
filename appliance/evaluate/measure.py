"""The two measuring stages, `baseline` and `evaluate`: one function, called before and after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from appliance.data.canaries import SOURCE
from appliance.data.rows import read_pairs, read_rows
from appliance.disk import read_json, read_jsonl, write_json, write_jsonl
from appliance.evaluate import axes, base, memorization, probes, real_world
from appliance.evaluate.advise import beside, measure_alternatives
from appliance.evaluate.benchmarks import benchmarks
from appliance.evaluate.habit import Style
from appliance.evaluate.recommend import recommend
from appliance.evaluate.suite import Suite, chosen
from appliance.model import adapter
from appliance.model.load import Loaded, open_model, release
from appliance.model.tuned import open_tuned
from appliance.recipe import Recipe
from appliance.run import RunDir

VERSION = 2  # of the scores' form
When = Literal["before", "after"]
Scores = dict[str, Any]
Items = list[dict[str, Any]]


def measure(run: RunDir, recipe: Recipe, when: When) -> None:
    """Measure the base (`before`) or the tuned model (`after`): the base with the run's adapter.

    Writes answers_<when>.jsonl, then scores_<when>.json; `before` also base_answers.jsonl, the
    base's own answers that drift is measured on.
    """
    if when == "before":
        if base.take(run, recipe):
            return
        loaded = open_model(recipe.model)
    elif recipe.evaluate.tuned:
        loaded = open_tuned(recipe.evaluate.tuned, recipe.model)
    else:
        loaded = open_model(recipe.model)
        adapter.attach_saved(loaded, run.adapter)
    # First, so that a wrong name ends the stage before anything else is asked.
    standard = benchmarks(loaded, recipe.evaluate.benchmarks, recipe.evaluate.benchmark_items)
    scores, items = look(run, recipe, loaded, when, chosen(recipe))
    scores |= {"benchmarks": standard} if standard else {}
    if when == "before":
        task = [item for item in items if item["probe"] == "task"]
        without = measure_alternatives(run, recipe, loaded, task)
        items += without.pop("answers", [])
        scores["alternatives"] = without
    else:
        scores["alternatives"] = _beside_tuned(run, scores["task"])
    release(loaded)
    write_jsonl(run.answers_after if when == "after" else run.answers_before, items)
    write_json(run.scores_after if when == "after" else run.scores_before, scores)
    if when == "before":
        base.keep(run, recipe)


def look(
    run: RunDir, recipe: Recipe, loaded: Loaded, when: When, suites: Sequence[Suite]
) -> tuple[Scores, Items]:
    """Everything measured of the model as it is now; `suites` begin with the off-task one."""
    started = time.monotonic()
    task_scores, items = _task(run, recipe, loaded, when)
    kept = False
    if when == "before":
        said, kept = base.said_by_base(loaded, recipe.model, suites)
    else:
        said = axes.said_to(loaded, suites)
    style = Style.of(_training_answers(run, recipe))
    found = {suite.axis: axes.score(suite, said[suite.axis], style) for suite in suites}
    off_task = found[suites[0].axis][1]
    if when == "before":
        write_jsonl(run.base_answers, off_task)
    drift = probes.drift(loaded, read_jsonl(run.base_answers), tuned=when == "after")
    memory, memory_items = memorization.of_run(run, recipe, loaded)
    real, real_items = real_world.of_run(
        run, recipe, loaded, task_scores if when == "after" else None
    )
    items += [item for _, scored in found.values() for item in scored]
    return {
        "version": VERSION,
        "when": when,
        "model": recipe.model.name,
        "bits": recipe.model.bits,
        "task": task_scores,
        "habit_leak": probes.habit_leak(off_task, style),
        "axes": {axis: scores for axis, (scores, _) in found.items()},
        "drift": drift,
        "memorization": memory,
        "real_world": real,
        "from_cache": kept,
        "seconds": round(time.monotonic() - started, 1),
    }, items + memory_items + real_items


def _beside_tuned(run: RunDir, task: Scores) -> Scores:
    """What needs no training, beside the tuned model on the same rows."""
    without: Scores = read_json(run.scores_before)["alternatives"]
    if "ways" not in without:
        return without
    found = beside(without, task)
    return found | {"recommendation": recommend(found, None, without["recommendation"]["cost"])}


def _task(run: RunDir, recipe: Recipe, loaded: Loaded, when: When) -> tuple[Scores, Items]:
    if recipe.method == "sft":
        return probes.task(loaded, read_rows(run.test_rows), recipe)
    reference = None
    if when == "after":
        said = read_jsonl(run.answers_before)
        reference = [item for item in said if item["probe"] == "preference"]
    return probes.preference(loaded, read_pairs(run.test_rows), recipe, reference)


def _training_answers(run: RunDir, recipe: Recipe) -> list[str]:
    if recipe.method == "sft":
        return [row.answer for row in read_rows(run.train_rows) if row.source != SOURCE]
    return [pair.chosen[-1]["content"] for pair in read_pairs(run.train_rows)]
