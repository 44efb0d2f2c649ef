"""Asking a loaded model: greedy answers, and losses of given answers, with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from appliance.console import console
from appliance.model.chat import Answer, encode, generate, prompt_ids
from appliance.model.likelihood import Likelihood, likelihoods
from appliance.model.load import Loaded

ROWS_AT_ONCE = 64  # on two cores a token for 64 rows takes little longer than for 16


def ask(
    loaded: Loaded, prompts: Sequence[Sequence[Any]], room: int, what: str
) -> list[Answer | None]:
    """Answers in order; None for a prompt that does not fit the model's length."""
    lengths = [len(prompt_ids(loaded.tokenizer, p)) for p in prompts]
    fits = [i for i, n in enumerate(lengths) if n <= loaded.max_length]
    answers: list[Answer | None] = [None] * len(prompts)
    with console.progress(what, len(fits)) as bar:
        found = generate(
            loaded, [prompts[i] for i in fits], room, done=bar.advance, rows_at_once=ROWS_AT_ONCE
        )
    for index, answer in zip(fits, found, strict=True):
        answers[index] = answer
    return answers


def losses(
    loaded: Loaded,
    dialogues: Sequence[Sequence[Any]],
    what: str,
    *,
    with_kl: bool = False,
    last_only: bool = False,
    cut: Sequence[bool] = (),
) -> list[Likelihood]:
    """Of each dialogue's answers, in order. `cut`: which answers have no end of turn to predict."""
    rows = [encode(loaded.tokenizer, d, loaded.max_length, last_only=last_only) for d in dialogues]
    rows = [
        replace(row, input_ids=row.input_ids[:-1], labels=row.labels[:-1]) if was_cut else row
        for row, was_cut in zip(rows, cut or [False] * len(rows), strict=True)
    ]
    loaded.model.eval()
    with console.progress(what, len(rows)) as bar:
        return likelihoods(loaded, rows, with_kl=with_kl, done=bar.advance)


def per_token(found: Sequence[Likelihood]) -> float | None:
    """Mean loss per token in nats; None without a token."""
    tokens = sum(f.tokens for f in found)
    return sum(f.loss for f in found) / tokens if tokens else None
