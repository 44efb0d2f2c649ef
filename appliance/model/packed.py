"""A batch's rows packed one behind the other, what they begin with computed once.

Padding is not computed, and neither is the beginning that chat rows share, the template's opening
and a system prompt: a third to a half of a short row's tokens. What a causal model computes of it
does not depend on what follows, so it is there once, every row sees it, and the gradients of all
rows add up in it. Only attention mixes tokens, and it is told which see which, so that nothing
crosses from row to row; the numbers are those of padded rows but for rounding.

Riders are rows of another use that are computed in the same pass: each step has rehearsal rows
beside the task's, and of a few rows a pass costs more for its number of operations than for its
tokens. They are appended to the next batch that a trainer sends through the decoder, whichever
trainer it is, which sees its own batch alone come back.

Only on a CPU: on a GPU Unsloth's kernels attend in their own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from appliance.model import attention, backend

SHORTEST = 8  # tokens in common, under which they are not worth a piece of their own
NEAR = 0.05  # of the hidden states: how far packed ones may be from padded ones, in bf16


class Riders:
    """The rows of `inputs`; `hidden` [rows, tokens, size] once they have ridden, else None."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        self.inputs = inputs
        self.hidden: Any = None


_packs: ContextVar[bool] = ContextVar("packs", default=True)
_waiting: ContextVar[Riders | None] = ContextVar("riders", default=None)


@contextmanager
def whole_rows() -> Iterator[None]:
    """Every layer sees all tokens of all rows meanwhile: for hooks that read what it is given."""
    before = _packs.set(False)
    try:
        yield
    finally:
        _packs.reset(before)


@contextmanager
def riding(riders: Riders | None) -> Iterator[None]:
    """Let them ride in the next batch that is computed with gradients."""
    before = _waiting.set(riders)
    try:
        yield
    finally:
        _waiting.reset(before)


def pack(model: Any) -> bool:
    """Let the decoder below `model`'s output layer do so. Nothing else sees a difference.

    False: not so. It attends in its own way, or mixes tokens elsewhere too: two rows are tried.
    """
    decoder, whole, config = model.base_model, model.base_model.forward, model.config

    @wraps(whole)
    def forward(input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        ids, mask = input_ids, attention_mask
        told = config._attn_implementation == attention.NAME and _packs.get()
        if not told or _asks_for_more(kwargs) or not _is_plain(ids, mask):
            return whole(input_ids=ids, attention_mask=mask, **kwargs)
        riders = _waiting.get() if backend.torch().is_grad_enabled() else None
        if riders is not None and riders.hidden is not None:
            riders = None
        if riders is None and len(ids) == 1:
            return whole(input_ids=ids, attention_mask=mask, **kwargs)
        batches = [(ids, mask)]
        if riders is not None:
            batches.append((riders.inputs["input_ids"], riders.inputs["attention_mask"]))
        return _packed(decoder, whole, batches, riders, kwargs)

    decoder.forward = forward
    holds = config._attn_implementation == attention.NAME and _holds(decoder, whole)
    if not holds:
        decoder.forward = whole
    return holds


def _asks_for_more(kwargs: dict[str, Any]) -> bool:
    """Generation keeps keys and values itself, and positions or embeddings may be anyone's."""
    names = ("past_key_values", "position_ids", "inputs_embeds", "output_hidden_states",
             "output_attentions")  # fmt: skip
    return any(kwargs.get(name) is not None for name in names)


def _is_plain(ids: Any, mask: Any) -> bool:
    """Token ids [rows, tokens], padded on the right or not at all."""
    if ids is None or (mask is not None and mask.dim() != 2):
        return False
    return mask is None or bool((mask[:, 1:] <= mask[:, :-1]).all() and (mask[:, 0] == 1).all())


def _packed(
    decoder: Any, whole: Any, batches: list[tuple[Any, Any]], riders: Riders | None, kwargs: Any
) -> Any:
    torch = backend.torch()
    pieces = Pieces([row for ids, mask in batches for row in _rows(ids, mask)])
    layout, mask = _layout(pieces, decoder)
    for name in ("use_cache", "past_key_values", "position_ids", "inputs_embeds"):
        kwargs.pop(name, None)
    device = batches[0][0].device
    token = attention.LAYOUT.set(layout)
    try:
        out = whole(
            input_ids=torch.tensor([pieces.tokens], device=device),
            position_ids=torch.tensor([pieces.positions], device=device),
            attention_mask=mask,
            use_cache=False,
            **kwargs,
        )
    finally:
        attention.LAYOUT.reset(token)
    hidden = out.last_hidden_state[0]
    found, left = [], pieces.places
    for ids, _ in batches:
        mine, left = left[: len(ids)], left[len(ids) :]
        width = ids.shape[1]
        # Behind its last token each row is filled up with its first one: nobody reads that.
        places = [(row + row[:1] * width)[:width] for row in mine]
        at = torch.tensor(places, device=device)
        found.append(hidden.index_select(0, at.flatten()).view(*at.shape, -1))
    out.last_hidden_state = found[0]
    if riders is not None:
        riders.hidden = found[1]
    return out


def _rows(ids: Any, mask: Any) -> list[list[int]]:
    """The tokens of each row, without padding."""
    lengths = [ids.shape[1]] * len(ids) if mask is None else mask.sum(-1).tolist()
    return [row[:length] for row, length in zip(ids.tolist(), lengths, strict=True)]


def common(rows: list[list[int]], begun: int = 0) -> int:
    """How far all rows are alike, from `begun` on; one token at least is left to each."""
    most = min(map(len, rows)) - 1
    first = rows[0]
    return next((i for i in range(begun, most) if any(row[i] != first[i] for row in rows)), most)


class Pieces:
    """Rows as pieces of tokens: what several begin with is one piece, what is left of each another.

    So a system prompt is there once for all rows, and within it a prompt once for both of its
    answers. Of each piece: its own places among the tokens, and all that it sees, in order.
    """

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.own: list[list[int]] = []
        self.seen: list[list[int]] = []
        self.places: list[list[int]] = [[] for _ in rows]  # of each row's tokens
        self._put_all(list(range(len(rows))), [])

    def _put_all(self, members: list[int], seen: list[int]) -> None:
        """Rows that are alike as far as `seen`."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i in members:
            next_ones = self.rows[i][len(seen) : len(seen) + SHORTEST]
            groups.setdefault(tuple(next_ones), []).append(i)
        for group in groups.values():
            alike = common([self.rows[i] for i in group], len(seen)) if len(group) > 1 else 0
            if alike - len(seen) >= SHORTEST:
                self._put_all(group, self._put(self.rows[group[0]][len(seen) : alike], seen))
                continue
            for i in group:
                self.places[i] = self._put(self.rows[i][len(seen) :], seen)

    def _put(self, part: list[int], seen: list[int]) -> list[int]:
        own = list(range(len(self.tokens), len(self.tokens) + len(part)))
        self.tokens += part
        self.positions += range(len(seen), len(seen) + len(part))
        self.own.append(own)
        self.seen.append(seen + own)
        return seen + own


def _layout(pieces: Pieces, decoder: Any) -> tuple[attention.Layout, Any]:
    """(how attention lays them out, the mask [pieces, 1, longest, most seen] to add to scores)."""
    torch = backend.torch()
    longest, most = max(map(len, pieces.own)), max(map(len, pieces.seen))
    queries = torch.tensor([own + [0] * (longest - len(own)) for own in pieces.own])
    keys = torch.tensor([seen + [0] * (most - len(seen)) for seen in pieces.seen])
    back = torch.empty(len(pieces.tokens), dtype=torch.long)
    for number, own in enumerate(pieces.own):
        back[own] = torch.arange(len(own)) + number * longest
    # A token sees what stands before it in its row, and itself: so far into what its piece sees.
    lengths = torch.tensor([len(seen) for seen in pieces.seen])[:, None]
    begun = lengths - torch.tensor([len(own) for own in pieces.own])[:, None]
    last = torch.minimum(begun + torch.arange(longest), lengths - 1)
    sees = torch.arange(most) <= last[:, :, None]
    dtype = next(decoder.parameters()).dtype
    dtype = dtype if dtype.is_floating_point else torch.bfloat16
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
    return attention.Layout(queries, keys, back), mask[:, None]


def _holds(decoder: Any, whole: Any) -> bool:
    """Does packing two rows change nothing of either? It does where not only attention mixes."""
    torch = backend.torch()
    beginning = list(range(10, 10 + 2 * SHORTEST))
    rows = [[*beginning, 40, 41, 42, 43, 44], [*beginning, 50, 51, 52]]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    was = decoder.training
    decoder.eval()
    try:
        with torch.inference_mode():
            mine = decoder.forward(input_ids=ids, attention_mask=mask).last_hidden_state
            theirs = whole(input_ids=ids, attention_mask=mask).last_hidden_state
    finally:
        decoder.train(was)
    off = (mine - theirs)[mask == 1].float().norm() / theirs[mask == 1].float().norm()
    return bool(off < NEAR)
