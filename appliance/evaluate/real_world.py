"""Real rows beside the held-out ones (`evaluate.real_world`), scored by the same probe.

Held-out rows come from where the training rows come from, and share their quirks: a template, one
writer, one generator. Where the gain on them is not the gain on real rows, it is such a quirk that
was learned.
"""

from __future__ import annotations

import hashlib
import json
from itertools import chain
from typing import Any

from appliance import statistics
from appliance.console import console
from appliance.data.forms import ColumnNames, SetAside, convert, recognize
from appliance.data.read import locate, read_located
from appliance.data.rows import Example, Pair, Row
from appliance.data.split import sample
from appliance.disk import read_json, read_jsonl
from appliance.errors import DataError
from appliance.evaluate import probes
from appliance.model.load import Loaded
from appliance.recipe import Recipe
from appliance.run import RunDir

LEAST = 8  # rows scored both times, under which a disagreement is not told from chance
Scores = dict[str, Any]
Items = list[dict[str, Any]]
_KEY = "evaluate.real_world"


def check(recipe: Recipe) -> None:
    """Are the real rows there? Asked before anything long begins. Raises DataError."""
    if recipe.evaluate.real_world is not None:
        try:
            locate(recipe.evaluate.real_world)
        except DataError as error:
            raise DataError(f"{_KEY}: {error.what}", error.do) from error


def rows(recipe: Recipe) -> list[Example]:
    """The usable rows, or a seeded sample of data.test_limit of them. Raises DataError."""
    name = str(recipe.evaluate.real_world)
    raws = read_located(locate(name))
    first = next(raws, None)
    if first is None:
        raise DataError(f"{_KEY}={name} holds no rows.", "Give data with rows.")
    section = recipe.data
    prompt, completion = section.columns.prompt, section.columns.completion
    columns = ColumnNames(prompt, completion) if prompt and completion else None
    try:
        form = recognize(first.fields, preference=recipe.method == "dpo", columns=columns,
                         name=section.form)  # fmt: skip
    except DataError as error:
        raise DataError(f"{_KEY}: {first.file}: {error.what}", error.do) from error
    made = [convert(raw, form, section.system) for raw in chain([first], raws)]
    usable = [row for row in made if not isinstance(row, SetAside)]
    if not usable:
        why = next(row for row in made if isinstance(row, SetAside))
        raise DataError(
            f"No row of {_KEY}={name} can be used: the first one ({why.file}:{why.line}) is set "
            f"aside because {why.reason}.",
            "Give other rows.",
        )
    return sample(usable, section.test_limit, recipe.train.seed)


def of_run(
    run: RunDir, recipe: Recipe, loaded: Loaded, task: Scores | None
) -> tuple[Scores | None, Items]:
    """Scores and items on the real rows; (None, []) where the recipe names none.

    `task`: the scores on the held-out rows of the tuned model, None for the base. With them comes
    `comparison`, the gain here and there. Raises DataError when the rows are not those of before.
    """
    if recipe.evaluate.real_world is None:
        return None, []
    real = rows(recipe)
    digest = _digest(real)
    before = read_json(run.scores_before) if task else {}
    base = before.get("real_world")
    if task and not base:
        console.say("  real rows are not scored: the base was not, before training")
        return None, []
    if base and base["rows_sha256"] != digest:
        raise DataError(
            f"{_KEY}={recipe.evaluate.real_world} has changed since the base was measured on it.",
            "Put the old rows back, or start the run anew in another folder.",
        )
    if recipe.method == "sft":
        scores, items = probes.task(loaded, [row for row in real if isinstance(row, Row)], recipe)
    else:
        said = read_jsonl(run.answers_before) if base else []
        reference = [item for item in said if item["probe"] == "real_world"] or None
        pairs = [row for row in real if isinstance(row, Pair)]
        scores, items = probes.preference(loaded, pairs, recipe, reference)
    scores["rows_sha256"] = digest
    if task and base:
        scores["comparison"] = compare(before["task"], task, base, scores)
    return scores, [item | {"probe": "real_world"} for item in items]


def _digest(found: list[Example]) -> str:
    text = json.dumps([row.to_json() for row in found], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def compare(
    held_before: Scores, held_after: Scores, real_before: Scores, real_after: Scores
) -> Scores:
    """The gain on held-out rows, on real rows, their difference, and what it means.

    The scores of `probes.task` or `probes.preference`, of each the base's and the tuned model's.
    `disagree` is None where it cannot be told.
    """
    held = statistics.paired(held_before["items"], held_after["items"])
    real = statistics.paired(real_before["items"], real_after["items"])
    out: Scores = {"held_out": held, "real": real, "difference": None, "disagree": None}
    if held_after["metric"] != real_after["metric"]:
        text = (
            f"The held-out rows are scored by {_name(held_after)} and the real ones by "
            f"{_name(real_after)}, so their gains cannot be compared."
        )
        return out | {"text": text}
    apart = statistics.difference(_gains(held_before, held_after), _gains(real_before, real_after))
    out["difference"] = apart
    if min(apart["n_each"]) < LEAST:
        text = (
            f"Only {min(apart['n_each'])} rows were scored before and after on one side: too few "
            f"(under {LEAST}) to say whether the held-out and the real rows agree."
        )
        return out | {"text": text}
    low, high = apart["interval"]
    out["disagree"] = low > 0 or high < 0
    return out | {"text": sentence(_name(held_after), held, real, apart)}


def sentence(metric: str, held: Scores, real: Scores, apart: Scores) -> str:
    """What the two gains say, in words."""
    low, high = apart["interval"]
    gains = (
        f"{metric} changed by {_points(held['value'])} points on the held-out rows and by "
        f"{_points(real['value'])} on the real ones (difference {_points(apart['value'])} "
        f"[{_points(low)} to {_points(high)}])"
    )
    if low > 0:
        return (
            f"{gains}: the held-out rows share the training rows' quirks, so believe the real ones."
        )
    if high < 0:
        return f"{gains}: the real rows gain more, so the held-out ones are not like them."
    return f"{gains}: no more apart than chance makes them."


def _points(share: float) -> str:
    return f"{100 * share:+.0f}"


def _gains(before: Scores, after: Scores) -> list[float]:
    both = zip(before["items"], after["items"], strict=True)
    return [a - b for b, a in both if a is not None and b is not None]


def _name(scores: Scores) -> str:
    return str(scores["metric"]).replace("_", " ").replace("rouge l", "ROUGE-L")
