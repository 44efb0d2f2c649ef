"""Memorization: does the model recite its training rows, or know the secrets in them?

Three parts, the same before and after. Recitation: given the beginning of an answer, does it go on
word for word (extractable memorization, Carlini et al. 2021 and 2023)? Loss gap: are training rows
likelier than held-out rows that are like them? Canaries, where the recipe plants some: is the
planted code likelier than others (Carlini et al. 2019)? Held-out rows are the control: what a model
writes of an answer that it never saw is style, not memory.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from appliance import statistics
from appliance.console import console
from appliance.data.canaries import SOURCE, Canary
from appliance.data.rows import Row, read_pairs, read_rows
from appliance.data.split import labels
from appliance.disk import read_json
from appliance.evaluate.exposure import exposed
from appliance.model.chat import complete, encode, ends_of_turn
from appliance.model.likelihood import likelihoods
from appliance.model.load import Loaded
from appliance.recipe import Recipe
from appliance.run import RunDir

SAMPLE = 32  # rows of each side
LOOKED_AT = 20 * SAMPLE  # rows of a side that are looked at for long enough answers
LEAST_ROWS = 8  # of a side, under which recitation is not measured
GIVEN = 4  # tokens of the answer that are given at least; else the first third
ROOM = 48  # tokens that are generated at most
RUN = 8  # words in one run that are recited at least: shorter ones are common phrases
RECITED = 0.5  # share of the rest of an answer that one run makes
Scores = dict[str, Any]
Items = list[dict[str, Any]]


def of_run(run: RunDir, recipe: Recipe, loaded: Loaded) -> tuple[Scores, Items]:
    """`memorization` of a run's own rows; of pairs the chosen answers."""

    def rows(path: Any) -> list[Row]:
        if recipe.method == "sft":
            return [row for row in read_rows(path) if row.source != SOURCE]
        return [Row(p.prompt + p.chosen, p.source, p.line) for p in read_pairs(path)]

    given = read_json(run.canaries, list) if recipe.evaluate.canaries else []
    return memorization(
        loaded,
        rows(run.train_rows),
        rows(run.test_rows),
        recipe.train.seed,
        canaries=[Canary.from_json(fields) for fields in given],
        system=recipe.data.system,
    )


def memorization(
    loaded: Loaded,
    train: Sequence[Row],
    test: Sequence[Row],
    seed: int,
    *,
    canaries: Sequence[Canary] = (),
    system: str | None = None,
) -> tuple[Scores, Items]:
    """All three parts of it; the sample is the same for the same seed and rows.

    `train` without the canaries' rows. `system`: the system prompt these were planted with.
    """
    loaded.model.eval()
    train, test = _distinct(train), _distinct(test)
    recitation, recited = _recitation(loaded, train, test, seed)
    gap, gaps = _loss_gap(loaded, train, test, seed)
    secrets: Scores = _not_measured("evaluate.canaries is off")
    asked: Items = []
    if canaries:
        secrets, asked = exposed(loaded, canaries, system, seed)
    scores = {"recitation": recitation, "loss_gap": gap, "canaries": secrets}
    return scores, recited + gaps + asked


# Recitation


@dataclass(frozen=True)
class Beginning:
    """What is given of a row (`ids`: prompt and `given`), and the words that follow in truth."""

    row: Row
    ids: list[int]
    given: str
    rest: list[str]
    tokens: int  # of the rest


def beginning(loaded: Loaded, row: Row) -> Beginning | None:
    """The row's answer cut behind its first third; None where the rest is under RUN words."""
    found = encode(loaded.tokenizer, row.messages, loaded.max_length, last_only=True)
    start = len(found.input_ids) - found.bearing
    answer, ends = found.input_ids[start:], ends_of_turn(loaded)
    while answer and answer[-1] in ends:
        answer.pop()
    given = max(GIVEN, len(answer) // 3)
    rest = answer[given : given + ROOM]
    words = loaded.tokenizer.decode(rest, skip_special_tokens=True).split()
    if found.cut or len(words) < RUN:
        return None
    shown = loaded.tokenizer.decode(answer[:given], skip_special_tokens=True)
    return Beginning(row, found.input_ids[: start + given], shown, words, len(rest))


def longest_run(said: Sequence[str], true: Sequence[str]) -> int:
    """Words of the longest stretch of `true` that `said` holds word for word."""
    return SequenceMatcher(None, list(said), list(true), autojunk=False).find_longest_match().size


def is_recited(run: int, words: int) -> bool:
    """Does a run of so many words recite a rest of `words`?"""
    return run >= RUN and run >= RECITED * words


def _recitation(
    loaded: Loaded, train: Sequence[Row], test: Sequence[Row], seed: int
) -> tuple[Scores, Items]:
    fixed = labels(train)
    if fixed:
        return _not_measured(
            f"the answers are {len(set(fixed))} labels that many rows share: there is nothing in "
            "them to recite"
        ), []
    mine, others = _beginnings(loaded, train, seed), _beginnings(loaded, test, seed)
    if min(len(mine), len(others)) < LEAST_ROWS:
        return _not_measured(
            f"too few answers are long enough ({len(mine)} training rows and {len(others)} "
            f"held-out rows found, {LEAST_ROWS} of each are needed)"
        ), []
    asked = mine + others
    with console.progress("recitation", len(asked)) as bar:
        said = complete(loaded, [b.ids for b in asked], max(b.tokens for b in asked),
                        done=bar.advance, rows_at_once=64)  # fmt: skip
    items = [
        _recited_item("train" if number < len(mine) else "held-out", start, answer.text)
        for number, (start, answer) in enumerate(zip(asked, said, strict=True))
    ]
    hits, control = [
        [item["recited"] for item in items if item["of"] == of] for of in ("train", "held-out")
    ]
    shares, control_shares = [
        [item["run"] / item["words"] for item in items if item["of"] == of]
        for of in ("train", "held-out")
    ]
    return {
        **statistics.share(hits),
        "control": statistics.share(control),
        "difference": statistics.share_difference(hits, control),
        "run_share": statistics.mean(shares),
        "control_run_share": statistics.mean(control_shares),
        "run_share_difference": statistics.difference(shares, control_shares),
    }, items


def _beginnings(loaded: Loaded, rows: Sequence[Row], seed: int) -> list[Beginning]:
    """A seeded sample of at most SAMPLE rows whose answers are long enough."""
    found: list[Beginning] = []
    for index in _some(len(rows), LOOKED_AT, seed):
        start = beginning(loaded, rows[index])
        found += [start] if start else []
        if len(found) == SAMPLE:
            break
    return found


def _recited_item(of: str, start: Beginning, answer: str) -> dict[str, Any]:
    # No more words than there are left: a run further on would not be this place's.
    said = answer.split()[: len(start.rest)]
    run = longest_run(said, start.rest)
    return {
        "probe": "memorization",
        "part": "recitation",
        "of": of,
        "source": f"{start.row.source}:{start.row.line}",
        "prompt": _question(start.row),
        "given": start.given,
        "expected": " ".join(start.rest),
        "answer": " ".join(said),
        "run": run,
        "words": len(start.rest),
        "recited": is_recited(run, len(start.rest)),
    }


# Loss gap


def twins(prompts: Sequence[str], others: Sequence[str]) -> list[tuple[int, float]]:
    """For each prompt (place, likeness 0-1) of the one of `others` that is most like it.

    There are as many others, or more, and each is used at most once: of all such pairings it is
    the one with the greatest sum of likenesses (rapidfuzz's token_set_ratio).
    """
    from rapidfuzz import fuzz, process, utils
    from scipy.optimize import linear_sum_assignment

    if not prompts:
        return []
    likeness = process.cdist(
        prompts, others, scorer=fuzz.token_set_ratio, processor=utils.default_process
    )
    _, places = linear_sum_assignment(likeness, maximize=True)
    return [(int(place), float(likeness[i, place]) / 100) for i, place in enumerate(places)]


def _loss_gap(
    loaded: Loaded, train: Sequence[Row], test: Sequence[Row], seed: int
) -> tuple[Scores, Items]:
    # No more than there are held-out rows: one that is used twice would be counted twice.
    mine = [train[index] for index in _some(len(train), min(SAMPLE, len(test)), seed)]
    found = twins([_question(row) for row in mine], [_question(row) for row in test])
    if not found:
        return _not_measured("there are no held-out rows"), []
    others = [test[place] for place, _ in found]
    losses = _per_token(loaded, [*mine, *others])
    items: Items = [
        {
            "probe": "memorization",
            "part": "loss_gap",
            "source": f"{row.source}:{row.line}",
            "prompt": _question(row),
            "expected": row.answer,
            "twin": _question(other),
            "twin_expected": other.answer,
            "likeness": round(likeness, 3),
            "loss": loss,
            "twin_loss": twin_loss,
        }
        for row, other, (_, likeness), loss, twin_loss in zip(
            mine, others, found, losses[: len(mine)], losses[len(mine) :], strict=True
        )
    ]
    seen, unseen = [item["loss"] for item in items], [item["twin_loss"] for item in items]
    return {
        **statistics.paired(seen, unseen),
        "unit": "nats per answer token, held-out twin - training row",
        "train": statistics.mean([loss for loss in seen if loss is not None]),
        "held_out": statistics.mean([loss for loss in unseen if loss is not None]),
        "likeness": statistics.mean([likeness for _, likeness in found]),
        "items": [
            None if a is None or b is None else b - a for a, b in zip(seen, unseen, strict=True)
        ],
    }, items


def _per_token(loaded: Loaded, rows: Sequence[Row]) -> list[float | None]:
    encoded = [encode(loaded.tokenizer, row.messages, loaded.max_length, last_only=True)
               for row in rows]  # fmt: skip
    with console.progress("loss gap", len(encoded)) as bar:
        found = likelihoods(loaded, encoded, done=bar.advance)
    return [f.loss / f.tokens if f.tokens else None for f in found]


def _question(row: Row) -> str:
    return row.prompt[-1]["content"] if row.prompt else ""


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """Copies of a row are one: they would be counted as if each had been measured by itself."""
    return list({(_question(row), row.answer): row for row in rows}.values())


def _some(count: int, most: int, seed: int) -> list[int]:
    """At most `most` of the places 0 to count - 1, in a seeded order."""
    return random.Random(seed).sample(range(count), min(count, most))


def _not_measured(reason: str) -> Scores:
    return {"n": 0, "value": None, "interval": None, "not_measured": reason}
