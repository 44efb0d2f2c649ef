"""What all rows of a batch begin with is computed once for all of them.

Chat rows share their beginning: the template's opening and a system prompt, a third to a half of a
short row's tokens. What a causal model computes of them does not depend on what follows, so the
first row's stands for all: its keys and values are lent to the rest of every row, and the gradients
of all rows add up in them. The numbers are those of whole rows but for rounding.

Only on a CPU, where arithmetic is what a step costs: on a GPU Unsloth's kernels take keys and
values from before for inference alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from appliance.model import backend

SHORTEST = 8  # tokens in common, under which two passes cost more than they save
_sharing: ContextVar[bool] = ContextVar("sharing", default=True)


@contextmanager
def whole_rows() -> Iterator[None]:
    """Every layer sees all tokens of all rows meanwhile: for hooks that read what it is given."""
    before = _sharing.set(False)
    try:
        yield
    finally:
        _sharing.reset(before)


def share_prefixes(model: Any) -> None:
    """Let the decoder below `model`'s output layer do so. Nothing else sees a difference."""
    decoder = model.base_model
    whole = decoder.forward

    @wraps(whole)
    def forward(input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        shares = _sharing.get() and not _asks_for_more(kwargs)
        length = common(input_ids, attention_mask) if shares else 0
        if length < SHORTEST:
            return whole(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        for name in ("use_cache", "past_key_values", "position_ids", "inputs_embeds"):
            kwargs.pop(name, None)
        return _in_two(decoder, whole, length, input_ids, attention_mask, kwargs)

    decoder.forward = forward


def _asks_for_more(kwargs: dict[str, Any]) -> bool:
    """Generation keeps keys and values itself, and positions or embeddings may be anyone's."""
    names = ("past_key_values", "position_ids", "inputs_embeds", "output_hidden_states",
             "output_attentions")  # fmt: skip
    return any(kwargs.get(name) is not None for name in names)


def common(input_ids: Any, attention_mask: Any) -> int:
    """Tokens that every row [rows, tokens] begins with, none of them padding; 0 for a single row.

    At least one token of a row is left, so that there is something to lend them to.
    """
    if input_ids is None or input_ids.shape[0] < 2:
        return 0
    same = (input_ids == input_ids[:1]).all(0)
    if attention_mask is not None:
        if attention_mask.dim() != 2:
            return 0
        same = same & (attention_mask == 1).all(0)
    return int(same[:-1].long().cumprod(0).sum())


def _in_two(
    decoder: Any, whole: Any, length: int, ids: Any, mask: Any, kwargs: dict[str, Any]
) -> Any:
    from transformers import DynamicCache

    torch = backend.torch()
    rows = ids.shape[0]
    cache = DynamicCache(config=decoder.config)
    begun = whole(input_ids=ids[:1, :length], past_key_values=cache, use_cache=True, **kwargs)
    lend(cache, rows)
    rest = whole(
        input_ids=ids[:, length:],
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
        **kwargs,
    )
    before = begun.last_hidden_state.expand(rows, -1, -1)
    rest.last_hidden_state = torch.cat([before, rest.last_hidden_state], 1)
    rest.past_key_values = None
    return rest


def lend(cache: Any, rows: int) -> None:
    """One row's keys and values [1, heads, tokens, size] to so many rows; nothing is copied yet."""
    for layer in cache.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
