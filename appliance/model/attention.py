"""Attention over short rows on a CPU: two plain products and a softmax.

torch's fused kernel is made for long rows. In bf16 on a CPU its backward pass over rows of 60
tokens takes four times as long as these products, and its forward pass twice; it is the faster one,
and the one that needs less memory, from about LARGEST on. Query heads that share keys and values
are put one below the other, so that nothing is copied for them.

Rows may come packed, one behind the other (`model/packed.py`): then LAYOUT says which tokens see
which, and they are laid out as rows here, and packed again.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from appliance.model import backend

NAME = "short_rows"
NOT_HERE = ("position_bias", "softcap", "s_aux")  # what only the fused kernel's way knows
LARGEST = 256 * 256  # scores of a head and row, over which the fused kernel is taken


@dataclass(frozen=True)
class Layout:
    """Of packed tokens: `queries` [pieces, longest] and `keys` [pieces, most seen] are places among
    them, filled up with 0; `back` [tokens] is where each is among the queries."""

    queries: Any
    keys: Any
    back: Any


LAYOUT: ContextVar[Layout | None] = ContextVar("layout", default=None)


def use(model: Any) -> None:
    """Let `model` attend so, where it would by torch's `scaled_dot_product_attention`."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if model.config._attn_implementation != "sdpa":
        return
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Any, None]:
    """As transformers calls it. query [rows, heads, tokens, size], key and value [rows, kv heads,
    seen, size], attention_mask [rows, 1, tokens, seen], added to the scores -> ([rows, tokens,
    heads, size], None)."""
    layout = LAYOUT.get()
    if layout is not None:
        query = _laid_out(query, layout.queries)
        key, value = _laid_out(key, layout.keys), _laid_out(value, layout.keys)
    more = dropout or any(kwargs.get(name) is not None for name in NOT_HERE)
    if more or query.shape[2] * key.shape[2] > LARGEST:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        out = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )[0]
    else:
        out = _products(query, key, value, attention_mask, scaling)
    if layout is not None:
        out = out.flatten(0, 1).flatten(1).index_select(0, layout.back)
        out = out.view(1, len(layout.back), query.shape[1], -1)
    return out, None


def _products(query: Any, key: Any, value: Any, mask: Any, scaling: float | None) -> Any:
    torch = backend.torch()
    rows, heads, tokens, size = query.shape
    kept, seen = key.shape[1:3]
    scale = size**-0.5 if scaling is None else scaling
    folded = (query * scale).reshape(rows, kept, heads // kept * tokens, size)
    scores = torch.matmul(folded, key.transpose(-1, -2)).view(rows, kept, -1, tokens, seen)
    if mask is not None:
        scores = scores + mask[:, :, None]
    shares = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    out = torch.matmul(shares.view(rows, kept, -1, seen), value)
    return out.view(rows, heads, tokens, size).transpose(1, 2).contiguous()


def _laid_out(packed: Any, places: Any) -> Any:
    """[1, heads, tokens, size] -> [pieces, heads, longest, size]."""
    _, heads, tokens, size = packed.shape
    flat = packed.transpose(1, 2).reshape(tokens, heads * size).index_select(0, places.flatten())
    return flat.view(*places.shape, heads, size).transpose(1, 2)
