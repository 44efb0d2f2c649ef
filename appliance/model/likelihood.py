"""Losses of given answers, and the KL between the tuned model and its base on them.

Logits are kept for the tokens that carry loss alone, and rows are batched by like length, so
this needs no more memory than a small forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.model import backend
from appliance.model.adapter import switched_off
from appliance.model.at_once import ask_all, batches
from appliance.model.chat import IGNORE, Encoded
from appliance.model.load import Loaded


@dataclass(frozen=True)
class Likelihood:
    """Of one row's tokens that carry loss: the sum of their losses in nats, and how many.

    `kl` is the sum over the same places of KL(base || tuned) in nats, None where not asked for.
    """

    loss: float
    tokens: int
    kl: float | None = None


def likelihoods(
    loaded: Loaded,
    rows: Sequence[Encoded],
    *,
    with_kl: bool = False,
    done: Callable[[int], None] = lambda n: None,
) -> list[Likelihood]:
    """One Likelihood for each row, in their order; the KL is against the adapter switched off."""
    torch = backend.torch()
    found: list[Likelihood | None] = [None] * len(rows)

    def ask(group: list[int]) -> None:
        inputs, labels = block([rows[i] for i in group], loaded.tokenizer)
        with torch.inference_mode():
            tuned, owner, target = bearing_logprobs(loaded.model, inputs, labels)
            loss = -tuned.gather(-1, target[:, None])[:, 0]
            kl = None
            if with_kl:
                with switched_off(loaded):
                    base, _, _ = bearing_logprobs(loaded.model, inputs, labels)
                kl = (base.exp() * (base - tuned)).sum(-1)
        for row, index in enumerate(group):
            mine = owner == row
            found[index] = Likelihood(
                float(loss[mine].sum()),
                int(mine.sum()),
                None if kl is None else float(kl[mine].sum()),
            )
        done(len(group))

    ask_all(batches([len(r.input_ids) for r in rows], 4096, 32), ask)
    return [f for f in found if f is not None]


def block(rows: Sequence[Encoded], tokenizer: Any) -> tuple[dict[str, Any], Any]:
    """(model inputs, labels), padded on the right, on the device."""
    torch = backend.torch()
    width = max(len(r.input_ids) for r in rows)
    pad = tokenizer.pad_token_id or 0
    ids = [r.input_ids + [pad] * (width - len(r.input_ids)) for r in rows]
    mask = [[1] * len(r.input_ids) + [0] * (width - len(r.input_ids)) for r in rows]
    labels = [r.labels + [IGNORE] * (width - len(r.labels)) for r in rows]
    place = backend.device()
    inputs = {
        "input_ids": torch.tensor(ids, device=place),
        "attention_mask": torch.tensor(mask, device=place),
    }
    return inputs, torch.tensor(labels, device=place)


def bearing_logprobs(model: Any, inputs: dict[str, Any], labels: Any) -> tuple[Any, Any, Any]:
    """(log-probabilities [n, vocabulary] fp32, row of each [n], target token of each [n]).

    A hook hands the output layer only the n places that carry loss: it is a fifth of the work of
    a small model, and its logits are most of the memory.
    """
    logits, _ = bearing_logits(model, inputs, labels)
    return backend.torch().log_softmax(logits.float(), -1), *bearing(labels)


def bearing(labels: Any) -> tuple[Any, Any]:
    """(row of each place that carries loss [n], target token of each [n])."""
    shifted = labels[:, 1:]
    found = shifted != IGNORE
    return found.nonzero()[:, 0], shifted[found]


def at_bearing(hidden: Any, labels: Any) -> Any:
    """Of the decoder's hidden states [rows, tokens, size] those that say a token with loss."""
    return hidden[:, : labels.shape[1] - 1][labels[:, 1:] != IGNORE]


def bearing_logits(model: Any, inputs: dict[str, Any], labels: Any) -> tuple[Any, Any]:
    """(logits [n, vocabulary], the hidden states [n, size] that they are computed of)."""
    hidden: list[Any] = []

    def pick(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden.append(at_bearing(args[0], labels))
        return (hidden[0], *args[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        logits = model(**inputs, use_cache=False).logits
    finally:
        hook.remove()
    return logits, hidden[0]
