"""Which general dialogues are rehearsed: the stage, and what training reads of it.

`rehearsal.sources` are files of general rows. Self-rehearsal (SA-SFT, "Talking to Yourself", arXiv
2602.20162) is a source that the base writes itself before training (`train/dialogues.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.console import console
from appliance.data.mix import Source, general_rows, mix
from appliance.data.prepare import read_general
from appliance.data.read import locate
from appliance.data.rows import Row, read_pairs, read_rows
from appliance.disk import read_jsonl, write_json, write_jsonl
from appliance.errors import DataError
from appliance.model.chat import Encoded, encode
from appliance.model.load import Loaded
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.train.dialogues import own

SELF = "self"  # the name of the source that the base writes
_WORDS = re.compile(r"\w+")
LIKE_TASK = 0.5  # share of words in common with a task's prompt, from which a dialogue is left out
TASK_PROMPTS = 5000  # a dialogue near the task is near many of its rows: a sample shows it


@dataclass(frozen=True)
class General:
    """A general row. `cut`: its answer ran into a limit, so it has no end to learn."""

    row: Row
    cut: bool = False


def rehearse(run: RunDir, recipe: Recipe) -> None:
    """Write data/rehearsal.jsonl and data/rehearsal.json (its facts). Raises DataError."""
    sources: dict[str, Any] = {}
    kept: list[General] = []
    if recipe.rehearses:
        task = task_prompts(run, recipe)
        for name, found, facts in _found(recipe, task):
            general = unlike_the_task(found, task)
            if not general:
                raise DataError(
                    f"Every row of {name} is near the task's rows, so none is general.",
                    "Give other files in rehearsal.sources, or set rehearsal.self=false.",
                )
            kept += general
            left = len(found) - len(general)
            sources[name] = facts | {"rows": len(general), "left_out_as_near_the_task": left}
            near = f" ({left} more are near the task's rows and left out)" if left else ""
            console.say(f"  {len(general)} general dialogues from {name}{near}")
    write_jsonl(run.rehearsal_rows, [g.row.to_json() | {"cut": g.cut} for g in kept])
    write_json(run.rehearsal_facts, {"rows": len(kept), "sources": sources})


def _found(recipe: Recipe, task: Sequence[str]) -> list[tuple[str, list[General], dict[str, Any]]]:
    """(name, rows, facts) of each source; a given one is named by its path."""
    found = []
    for name in shares(recipe):
        if name == SELF:
            said, facts = own(recipe, task)
            rows = [
                General(Row(({"role": "user", "content": d.prompt},
                             {"role": "assistant", "content": d.answer}), SELF, line), d.cut)
                for line, d in enumerate(said, 1)
            ]  # fmt: skip
        else:
            read, facts = read_general(name, lambda text: console.say(f"  {text}"))
            rows = [General(replace(row, source=name)) for row in read]
        found.append((name, rows, facts))
    return found


def shares(recipe: Recipe) -> dict[str, float]:
    """The sources by name, with their shares among the general rows. Raises DataError."""
    section = recipe.rehearsal
    given = [(s, 1.0) if isinstance(s, str) else (s.path, s.share) for s in section.sources]
    if section.self or (section.self is None and not given):
        given.append((SELF, 1.0))
    if len(dict(given)) < len(given):
        raise DataError("rehearsal.sources names a file twice.", "Name each once.")
    return dict(given)


def check(recipe: Recipe) -> None:
    """Are the sources there? Asked before anything long begins. Raises DataError."""
    for name in shares(recipe):
        if name != SELF:
            locate(name)


def task_prompts(run: RunDir, recipe: Recipe) -> list[str]:
    """The last turns of the task's prompts, a sample of them where they are many."""
    examples: Sequence[Any] = (
        read_rows(run.train_rows) if recipe.method == "sft" else read_pairs(run.train_rows)
    )
    if len(examples) > TASK_PROMPTS:
        examples = random.Random(recipe.train.seed).sample(list(examples), TASK_PROMPTS)
    return [e.prompt[-1]["content"] for e in examples if e.prompt]


def unlike_the_task(found: Sequence[General], prompts: Sequence[str]) -> list[General]:
    """Those that share less than LIKE_TASK of their words with every task's prompt."""
    task = [set(_WORDS.findall(p.lower())) for p in prompts]

    def near(general: General) -> bool:
        mine = set(_WORDS.findall(general.row.prompt[-1]["content"].lower()))
        return any(len(mine & t) >= LIKE_TASK * len(mine | t) for t in task)

    return [g for g in found if not near(g)]


def rows(
    run: RunDir, recipe: Recipe, loaded: Loaded, task_rows: int
) -> tuple[list[Encoded], dict[str, Any]]:
    """The general rows of a training over `task_rows` rows in all, in order, and their facts."""
    by_name: dict[str, list[Encoded]] = {name: [] for name in shares(recipe)}
    for item in read_jsonl(run.rehearsal_rows):
        row = encoded(loaded, General(Row.from_json(item), item["cut"]))
        if row.bearing:
            by_name[item["source"]].append(row)
    sources = [Source(name, by_name[name], share) for name, share in shares(recipe).items()]
    return mix(
        task_rows,
        sources,
        recipe.general_share,
        recipe.train.seed,
        lambda row: len(row.input_ids),
    )


def some(run: RunDir, recipe: Recipe, loaded: Loaded, count: int) -> list[Encoded]:
    """A seeded sample of the general rows, at most `count`, those with an answer left."""
    read = [General(Row.from_json(i), i["cut"]) for i in read_jsonl(run.rehearsal_rows)]
    random.Random(recipe.train.seed).shuffle(read)
    found = [encoded(loaded, general) for general in read[:count]]
    return [row for row in found if row.bearing]


def rows_per_step(recipe: Recipe) -> Any:
    """General rows beside the task's of one step, as a fraction: 8 at a share of 0.2 take 2."""
    return general_rows(recipe.train.batch_size, recipe.general_share)


def encoded(loaded: Loaded, general: General) -> Encoded:
    """As tokens; an answer that was cut has no end of turn to learn."""
    row = encode(loaded.tokenizer, general.row.messages, loaded.max_length)
    if general.cut and not row.cut:
        row = replace(row, input_ids=row.input_ids[:-1], labels=row.labels[:-1])
    return row
