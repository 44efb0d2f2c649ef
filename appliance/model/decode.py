"""Decoding of many rows on a CPU, where every row of a batch costs its own arithmetic.

transformers' `generate` keeps rows that have ended in the batch until the last one ends; here they
leave it, and what all prompts begin with is read once. Greedy answers are those of `generate`,
which a GPU uses: there a row more in a batch is free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.model import backend, lora
from appliance.model.packed import SHORTEST

FEWER = 0.8  # a batch is made smaller when no more than this share of its rows still goes on


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn; without one they are greedy."""

    temperature: float
    top_k: int  # not top-p, which sorts the whole vocabulary at each token: half of the time
    seed: int


def picker(sampling: Sampling | None) -> Callable[[Any], Any]:
    """Logits [rows, vocabulary] -> the next token of each row [rows]."""
    if sampling is None:
        # argmax in bf16 takes four times as long; of equals both give the first.
        return lambda logits: logits.max(-1).indices
    torch = backend.torch()
    draw = torch.Generator().manual_seed(sampling.seed)

    def pick(logits: Any) -> Any:
        best, tokens = (logits.float() / sampling.temperature).topk(sampling.top_k, -1)
        return tokens.gather(-1, torch.multinomial(best.softmax(-1), 1, generator=draw))[:, 0]

    return pick


def decode(
    model: Any,
    ids: Sequence[Sequence[int]],
    room: int,
    ends: Sequence[int],
    pad: int,
    pick: Callable[[Any], Any],
) -> list[list[int]]:
    """What follows each of `ids`, up to its end of turn or `room` tokens."""
    torch = backend.torch()
    out: list[list[int]] = [[] for _ in ids]
    rows = list(range(len(ids)))  # which answer each row of the batch is
    with torch.inference_mode(), lora.unchanged():
        cache, length = _begin(model, ids)
        rest = [list(row[length:]) for row in ids]
        width = max(map(len, rest))
        block = torch.tensor([[pad] * (width - len(row)) + row for row in rest])
        mask = torch.tensor([[1] * length + [0] * (width - len(row)) + [1] * len(row)
                             for row in rest])  # fmt: skip
        place = (mask.cumsum(-1) - 1).clamp(min=0)[:, length:]
        for _ in range(room):
            logits = model(
                input_ids=block, attention_mask=mask, position_ids=place,
                past_key_values=cache, use_cache=True, logits_to_keep=1,
            ).logits  # fmt: skip
            token = pick(logits[:, -1])
            for row, value in zip(rows, token.tolist(), strict=True):
                if not out[row] or out[row][-1] not in ends:
                    out[row].append(value)
            on = torch.tensor([out[row][-1] not in ends for row in rows])
            if not bool(on.any()):
                break
            block, place = token[:, None], place[:, -1:] + 1
            if int(on.sum()) <= FEWER * len(rows):
                kept = on.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                block, place, mask = block[kept], place[kept], mask[kept]
                rows = [rows[i] for i in kept.tolist()]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
    return out


def _begin(model: Any, ids: Sequence[Sequence[int]]) -> tuple[Any, int]:
    """(keys and values of what all prompts begin with, lent to every row; its length)."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    first = ids[0]
    length = 0
    while all(len(row) > length + 1 and row[length] == first[length] for row in ids):
        length += 1
    if len(ids) == 1 or length < SHORTEST:
        return cache, 0
    block = backend.torch().tensor([list(first[:length])])
    model(input_ids=block, past_key_values=cache, use_cache=True, logits_to_keep=1)
    for layer in cache.layers:  # lent to every row: nothing is copied yet
        layer.keys = layer.keys.expand(len(ids), -1, -1, -1)
        layer.values = layer.values.expand(len(ids), -1, -1, -1)
    return cache, length
