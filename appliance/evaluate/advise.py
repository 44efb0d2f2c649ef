"""Should it be fine-tuned at all? The held-out rows asked in the ways that need no training.

The same held-out rows, and the same scorer, as the task probe: asked as they stand, with the set of
answers named, after near training rows as examples, with near training rows as context; and the
nearest row's own answer, with no model. `recommend.py` says what follows from it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.data.rows import Row, read_rows
from appliance.data.split import labels, sample
from appliance.errors import DataError, ModelError
from appliance.evaluate import probes, ways
from appliance.evaluate.nearest import Nearest
from appliance.evaluate.probes import Items, Scores
from appliance.evaluate.recommend import recommend
from appliance.model import backend
from appliance.model.chat import Answer, prompt_ids
from appliance.model.load import Loaded
from appliance.recipe import Recipe
from appliance.run import RunDir

VERSION = 1  # of the form of what `measure` gives
ROWS, SHOTS = 150, 8  # held-out rows, and rows shown with each, at most
LEAST = 8  # held-out rows, fewer of which say nothing
# Within a training run. On a CPU tokens are what it costs: one core reads some 400 a second of
# SmolLM2-135M, what all prompts begin with once, and writes one in the time of three.
ROWS_IN_A_RUN, SHOTS_ON_CPU, TOKENS_ON_CPU, WRITTEN = 48, 4, 14_000, 3
PAIRS = "the rows are preference pairs: there is no one answer to ask for"
_ASKED = ("zero_shot", "labels", "few_shot", "retrieval")


def measure(
    loaded: Loaded,
    train: Sequence[Row],
    test: Sequence[Row],
    recipe: Recipe,
    *,
    rows: int = ROWS,
    shots: int = SHOTS,
    tokens: int | None = None,
    said: Items | None = None,
) -> tuple[Scores, Items]:
    """Every way's score on at most `rows` held-out rows, and what was asked and said.

    `tokens`: so many may be read (those written count WRITTEN times), which may make the rows
    fewer. `said`: the task probe's items of `test`, so that they are not asked again as they stand.
    Raises DataError where there are no rows, or tokens for fewer than LEAST.
    """
    started = time.monotonic()
    if not train or not test:
        raise DataError("There are no rows to learn from, or none held out.", "Give more rows.")
    short = probes.short_answers(test)
    held = len(test) if short else min(len(test), probes.ROUGE_ROWS)
    # Drawn over all: a file is often sorted by its answers.
    places = sample(range(held), rows, recipe.train.seed)
    near = Nearest(train, recipe.train.seed)
    asking = _Asking(loaded, probes.task_room(loaded, test, recipe), short, train)
    asked = [asking.prompts(test[i], near.find(test[i], shots)) for i in places]
    if tokens is not None:
        ask = [way for way in asked[0][0] if way != "zero_shot" or not said]
        enough = _affordable(asking, asked, ask, tokens)
        kept = sample(range(len(places)), enough, recipe.train.seed)
        places, asked = [places[i] for i in kept], [asked[i] for i in kept]
    items = asking.ask([test[i] for i in places], asked, said and [said[i] for i in places])
    return {
        "version": VERSION,
        "measured": True,
        "metric": "exact_match" if short else "rouge_l",
        "model": recipe.model.name,
        "bits": recipe.model.bits,
        "places": places,
        "ways": asking.scores(asked, items),
        "seconds": round(time.monotonic() - started, 1),
    }, [item for way in items.values() for item in way]


def measure_alternatives(
    run: RunDir, recipe: Recipe, loaded: Loaded, said: Items | None = None
) -> dict[str, Any]:
    """For a training run: what its base does without training, on some of its held-out rows.

    `said`: the task probe's items of the base. `answers` are the items of all ways; `measured` is
    false, with `why`, where there is nothing to measure.
    """
    unmeasured = {"version": VERSION, "measured": False}
    if recipe.method != "sft":
        return {**unmeasured, "why": PAIRS}
    if not recipe.evaluate.alternatives:
        return {**unmeasured, "why": "evaluate.alternatives is false"}
    train, test = read_rows(run.train_rows), read_rows(run.test_rows)
    slow = not backend.on_gpu()
    try:
        scores, items = measure(
            loaded, train, test, recipe, rows=ROWS_IN_A_RUN, said=said,
            shots=SHOTS_ON_CPU if slow else SHOTS, tokens=TOKENS_ON_CPU if slow else None,
        )  # fmt: skip
    except DataError as error:
        return {**unmeasured, "why": error.what}
    advice = recommend(scores, None, cost(recipe, len(train)))
    return {**scores, "recommendation": advice, "answers": items}


def cost(recipe: Recipe, rows: int) -> dict[str, Any]:
    """What fine-tuning on `rows` rows would take, without asking a model."""
    return {"rows": {"train": rows}, "steps": recipe.steps(rows)}


def beside(scores: Scores, tuned: Mapping[str, Any]) -> Scores:
    """`scores` with `tuned`: the tuned model's task scores, on the rows that were asked here."""
    items = [tuned["items"][place] for place in scores["places"]]
    found = probes.task_value(items, scores["metric"] == "exact_match")
    return {**scores, "tuned": {**found, "items": items}}


# Of one row: way -> (its prompt, how many rows are shown in it); and the row nearest to it.
_Asked = tuple[dict[str, tuple[ways.Prompt, int]], Row | None]


class _Asking:
    """How a row is asked in each way, and what came of it."""

    def __init__(self, loaded: Loaded, room: int, short: bool, train: Sequence[Row]) -> None:
        self.loaded, self.room, self.short = loaded, room, short
        self.fits = loaded.max_length - room  # tokens of a prompt that leave room for its answer
        found = labels(train)
        self.labels = sorted(set(found)) if found else []
        try:
            self.count(ways.with_labels(train[0], self.labels))
            self.in_system = True
        except ModelError:  # the template knows no system turn
            self.in_system = False

    def count(self, prompt: Sequence[Any]) -> int:
        return len(prompt_ids(self.loaded.tokenizer, prompt))

    def prompts(self, row: Row, found: Sequence[Row]) -> _Asked:
        made: dict[str, tuple[ways.Prompt, int]] = {"zero_shot": (list(row.prompt), 0)}
        if self.labels:
            made["labels"] = (ways.with_labels(row, self.labels, self.in_system), 0)
        for way, put in (("few_shot", ways.with_shots), ("retrieval", ways.with_context)):
            made[way] = ways.fitting(row, found, put, self.count, self.fits)
        return made, found[0] if found else None

    def why_not(self, way: str, asked: Sequence[_Asked]) -> str:
        """Why a way cannot be measured, or ""."""
        if way == "nearest":
            return "" if all(near for _, near in asked) else "a row has no other row near it"
        if way == "labels":
            if not self.labels:
                return "the answers are no fixed set"
            if any(self.count(made["labels"][0]) > self.fits for made, _ in asked):
                return f"{len(self.labels)} answers do not fit model.max_length"
        if way in ("few_shot", "retrieval") and not any(made[way][1] for made, _ in asked):
            return "no other row fits model.max_length beside a row"
        return ""

    def ask(
        self,
        rows: Sequence[Row],
        asked: Sequence[_Asked],
        said: Items | None,
    ) -> dict[str, Items]:
        """The items of each way that can be measured."""
        found: dict[str, Items] = {}
        for way in (way for way in _ASKED if not self.why_not(way, asked)):
            if way == "zero_shot" and said:
                found[way] = said
                continue
            prompts, what = [made[way][0] for made, _ in asked], way.replace("_", "-")
            found[way] = probes.ask_task(self.loaded, rows, prompts, self.room, self.short, what)
        if not self.why_not("nearest", asked):
            found["nearest"] = [
                probes.task_item(row, Answer(near.answer, 0, False), self.short)
                for row, (_, near) in zip(rows, asked, strict=True)
                if near
            ]
        return {
            way: [{**item, "probe": "alternatives", "way": way} for item in items]
            for way, items in found.items()
        }

    def scores(self, asked: Sequence[_Asked], items: Mapping[str, Items]) -> dict[str, Scores]:
        """Of each way its scores, with the tokens of a prompt and the rows shown, on average."""
        found: dict[str, Scores] = {}
        for way in (*_ASKED, "nearest"):
            if way not in items:
                nothing = {"value": None, "interval": None, "n": 0}
                found[way] = {**nothing, "why": self.why_not(way, asked)}
                continue
            found[way] = probes.task_scores(items[way], self.short)
            if way != "nearest":
                tokens = [self.count(made[way][0]) for made, _ in asked]
                shown = [made[way][1] for made, _ in asked]
                found[way]["tokens"] = round(sum(tokens) / len(tokens), 1)
                found[way]["shown"] = round(sum(shown) / len(shown), 1)
        return found


def _affordable(asking: _Asking, asked: Sequence[_Asked], ask: Sequence[str], tokens: int) -> int:
    """How many of the rows `tokens` are enough for. Raises DataError where fewer than LEAST."""
    work = 0.0
    for way in ask:
        prompts = [prompt_ids(asking.loaded.tokenizer, made[way][0]) for made, _ in asked]
        first, last = min(prompts), max(prompts)  # what these two begin with, all begin with
        pairs = enumerate(zip(first, last, strict=False))
        shared = next((i for i, (a, b) in pairs if a != b), len(first))
        work += sum(len(ids) + WRITTEN * asking.room for ids in prompts)
        work -= shared * (len(prompts) - 1)
    each = work / len(asked)
    if tokens < each * min(LEAST, len(asked)):
        raise DataError(
            f"Asking a row in every way costs as much as {each:.0f} tokens, too long for a CPU.",
            "Ask for it by `appliance advise`.",
        )
    return min(int(tokens / each), len(asked))
