"""What is DPO's own: pairs as tokens, and TRL's DPOTrainer with the adapter off as reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from appliance.data.rows import Pair, read_pairs
from appliance.errors import TrainingFailed
from appliance.model.chat import Encoded, encode, mark
from appliance.model.load import Loaded
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.train.measures import measured

Both = tuple[Encoded, Encoded]  # chosen and rejected


def rows(run: RunDir, loaded: Loaded) -> tuple[list[dict[str, Any]], list[Both], dict[str, Any]]:
    """(training items, held-out pairs, facts)."""
    pairs = read_pairs(run.train_rows)
    encoded = [encode_pair(loaded, pair) for pair in pairs]
    kept = [(c, r) for c, r in encoded if c.bearing and r.bearing]
    if not kept:
        raise TrainingFailed(
            f"No pair keeps an answer within {loaded.max_length} tokens.",
            "Raise model.max_length, or shorten the prompts.",
        )
    chosen, rejected = kept[0]
    both = [side for pair in kept for side in pair]
    tokens, bearing = sum(len(s.input_ids) for s in both), sum(s.bearing for s in both)
    facts = {
        "rows": len(kept),
        "rows_cut": sum(c.cut or r.cut for c, r in encoded),
        "rows_without_answer_after_cut": len(encoded) - len(kept),
        "tokens": tokens,
        "tokens_bearing_loss": bearing,
        "share_bearing_loss": bearing / tokens,
        "example": f"chosen: {mark(loaded.tokenizer, chosen)}\n"
        f"rejected: {mark(loaded.tokenizer, rejected)}",
    }
    valid = [encode_pair(loaded, pair) for pair in read_pairs(run.valid_rows)]
    valid = [(c, r) for c, r in valid if c.bearing and r.bearing]
    return [_item(c, r) for c, r in kept], valid, facts


def held_out(loaded: Loaded, valid: list[Both], recipe: Recipe) -> Callable[[], float | None]:
    """Gives the mean DPO loss on held-out pairs (Rafailov et al. 2023, eq. 7), in nats.

    None without pairs. To be made before training begins: the model is the base then, and is asked
    once; its own loss would be ln 2.
    """
    sides = [side for pair in valid for side in pair]
    base = [f.loss for f in measured(loaded, sides)] if recipe.train.evaluations else []

    def measure() -> float | None:
        if not base:
            return None
        gains = [b - f.loss for b, f in zip(base, measured(loaded, sides), strict=True)]
        margins = [recipe.dpo.beta * (c - r) for c, r in zip(gains[::2], gains[1::2], strict=True)]
        # -log sigmoid, written so that no exponent overflows
        losses = [max(-m, 0.0) + math.log1p(math.exp(-abs(m))) for m in margins]
        return sum(losses) / len(losses)

    return measure


def encode_pair(loaded: Loaded, pair: Pair) -> Both:
    """Both answers behind the same prompt; loss on the last answer alone."""

    def side(answer: Any) -> Encoded:
        messages = [*pair.prompt, *answer]
        return encode(loaded.tokenizer, messages, loaded.max_length, last_only=True)

    return side(pair.chosen), side(pair.rejected)


def _item(chosen: Encoded, rejected: Encoded) -> dict[str, Any]:
    start = len(chosen.input_ids) - chosen.bearing
    return {
        "prompt_ids": chosen.input_ids[:start],
        "chosen_ids": chosen.input_ids[start:],
        "rejected_ids": rejected.input_ids[start:],
        "length": len(chosen.input_ids) + len(rejected.input_ids),
    }


def trainer(
    loaded: Loaded,
    items: list[dict[str, Any]],
    recipe: Recipe,
    arguments: dict[str, Any],
    wrap: Callable[[type], type],
) -> Any:
    """TRL's DPOTrainer over pairs that are tokens already; no second copy of the model."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class TokenizedDPOTrainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            # TRL would render the template itself; ours are the tokens asked at inference.
            return dataset

    config = DPOConfig(**arguments, beta=recipe.dpo.beta, max_length=None)
    made = wrap(TokenizedDPOTrainer)(
        model=loaded.model,
        ref_model=None,
        args=config,
        train_dataset=Dataset.from_list(items),
        processing_class=loaded.tokenizer,
    )
    # TRL takes a copy of the adapter as it is now for the reference. In a training that goes on
    # that would be a trained one; without the copy the reference is the base, the adapter off.
    if "ref" in getattr(loaded.model, "peft_config", {}):
        loaded.model.delete_adapter("ref")
    return made
