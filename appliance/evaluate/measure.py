"""The two measuring stages, `baseline` and `evaluate`: one function, called before and after."""

from __future__ import annotations

import time
from typing import Any, Literal

from appliance.data.canaries import SOURCE
from appliance.data.rows import read_pairs, read_rows
from appliance.evaluate import memorization, probes, real_world
from appliance.evaluate.habit import Style
from appliance.model import adapter
from appliance.model.load import open_model, release
from appliance.recipe import Recipe
from appliance.run import RunDir, read_jsonl, write_json, write_jsonl

VERSION = 1  # of the scores' form


def measure(run: RunDir, recipe: Recipe, when: Literal["before", "after"]) -> None:
    """Measure the base (`before`) or the base with the run's adapter (`after`).

    Writes answers_<when>.jsonl, then scores_<when>.json; `before` also base_answers.jsonl, the
    base's own answers that drift is measured on.
    """
    started = time.monotonic()
    after = when == "after"
    loaded = open_model(recipe.model)
    if after:
        adapter.attach_saved(loaded, run.adapter)
    task_scores, items = _task(run, recipe, loaded, after)
    style = Style.of(_training_answers(run, recipe))
    off_scores, off_items = probes.off_task(loaded, style, recipe)
    if not after:
        write_jsonl(run.base_answers, off_items)
    drift = probes.drift(loaded, read_jsonl(run.base_answers), tuned=after)
    memory, memory_items = memorization.of_run(run, recipe, loaded)
    real, real_items = real_world.of_run(run, recipe, loaded, task_scores if after else None)
    release(loaded)
    items += off_items + memory_items + real_items
    write_jsonl(run.answers_after if after else run.answers_before, items)
    scores: dict[str, Any] = {
        "version": VERSION,
        "when": when,
        "model": recipe.model.name,
        "bits": recipe.model.bits,
        "task": task_scores,
        "habit_leak": off_scores,
        "drift": drift,
        "memorization": memory,
        "real_world": real,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(run.scores_after if after else run.scores_before, scores)


def _task(
    run: RunDir, recipe: Recipe, loaded: Any, after: bool
) -> tuple[probes.Scores, probes.Items]:
    if recipe.method == "sft":
        return probes.task(loaded, read_rows(run.test_rows), recipe)
    reference = None
    if after:
        said = read_jsonl(run.answers_before)
        reference = [item for item in said if item["probe"] == "preference"]
    return probes.preference(loaded, read_pairs(run.test_rows), recipe, reference)


def _training_answers(run: RunDir, recipe: Recipe) -> list[str]:
    if recipe.method == "sft":
        return [row.answer for row in read_rows(run.train_rows) if row.source != SOURCE]
    return [pair.chosen[-1]["content"] for pair in read_pairs(run.train_rows)]
