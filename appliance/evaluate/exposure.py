"""How exposed planted secrets are (Carlini et al. 2019, "The Secret Sharer"), by likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from appliance import statistics
from appliance.console import console
from appliance.data.canaries import Canary, candidates, exposure, rank
from appliance.model.chat import IGNORE, Encoded, encode, generate
from appliance.model.likelihood import likelihoods
from appliance.model.load import Loaded

AMONG = 128  # codes that one is ranked among: at most 7 bits; first by chance once in 128 times
ROOM = 32  # tokens of an answer
Scores = dict[str, Any]
Items = list[dict[str, Any]]


def exposed(
    loaded: Loaded, canaries: Sequence[Canary], system: str | None, seed: int
) -> tuple[Scores, Items]:
    """Share of the canaries that are exposed, in all and by repeats, and one item of each.

    `exposed`: its code is the likeliest of AMONG, so its exposure is at most. `said`: the greedy
    answer to its question holds the code. `system`: the system prompt it was planted with.
    """
    items: Items = []
    with console.progress("canaries", len(canaries)) as bar:
        for canary in canaries:
            items.append(_canary_item(loaded, canary, canaries, system, seed))
            bar.advance()
    prompts = [canary.row(system).prompt for canary in canaries]
    for item, answer in zip(items, generate(loaded, prompts, ROOM), strict=True):
        item["answer"] = answer.text
        item["said"] = item["code"] in answer.text
    by_repeats = {
        str(repeats): _figures([item for item in items if item["repeats"] == repeats])
        for repeats in sorted({item["repeats"] for item in items})
    }
    whole = _figures(items)
    return {**whole.pop("exposed"), "among": AMONG, **whole, "by_repeats": by_repeats}, items


def _figures(items: Items) -> Scores:
    return {
        "exposed": statistics.share([item["exposed"] for item in items]),
        "exposure": statistics.mean([item["exposure"] for item in items]),
        "said": statistics.share([item["said"] for item in items]),
    }


def _canary_item(
    loaded: Loaded, canary: Canary, canaries: Sequence[Canary], system: str | None, seed: int
) -> dict[str, Any]:
    # All rows of one call begin alike, and what they begin with is computed once (model/prefix.py).
    codes = candidates(canary, canaries, AMONG, seed)
    rows = [
        encode(loaded.tokenizer, canary.row(system, code=code).messages, loaded.max_length)
        for code in codes
    ]
    losses = [found.loss for found in likelihoods(loaded, _where_they_differ(rows))]
    place = rank(losses)
    return {
        "probe": "memorization",
        "part": "canary",
        "prompt": canary.prompt,
        "code": canary.code,
        "repeats": canary.repeats,
        "loss": losses[0],
        "rank": place,
        "exposure": exposure(place, AMONG),
        "exposed": place == 1,
    }


def _where_they_differ(rows: Sequence[Encoded]) -> list[Encoded]:
    """Loss on the code alone. What all begin with has the same loss in all, and would only add
    rounding to it; what all end with says nothing of the code, and costs time.
    """
    before = _common([row.input_ids for row in rows])
    behind = _common([row.input_ids[:before:-1] for row in rows])
    out = []
    for row in rows:
        end = len(row.input_ids) - behind
        labels = [IGNORE] * before + row.labels[before:end]
        out.append(replace(row, input_ids=row.input_ids[:end], labels=labels))
    return out


def _common(lists: Sequence[Sequence[int]]) -> int:
    """How many tokens all begin with."""
    return next(
        (i for i, column in enumerate(zip(*lists, strict=False)) if len(set(column)) > 1),
        min(len(tokens) for tokens in lists),
    )
