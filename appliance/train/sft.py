"""What is SFT's own: rows with loss on the answers, and TRL's SFTTrainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from appliance.data.rows import Row, read_rows
from appliance.errors import TrainingFailed
from appliance.model.chat import Encoded, encode, mark
from appliance.model.load import Loaded
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.train.measures import measured


def rows(run: RunDir, loaded: Loaded) -> tuple[list[dict[str, Any]], list[Encoded], dict[str, Any]]:
    """(training items, held-out rows, facts): items as the collator of `trainer` takes them."""
    encoded = encode_rows(loaded, read_rows(run.train_rows))
    valid = encode_rows(loaded, read_rows(run.valid_rows))
    kept = [row for row in encoded if row.bearing]
    facts = _facts(encoded, kept, loaded)
    items = [
        {"input_ids": row.input_ids, "labels": row.labels, "length": len(row.input_ids)}
        for row in kept
    ]
    return items, [row for row in valid if row.bearing], facts


def held_out(loaded: Loaded, valid: list[Encoded], recipe: Recipe) -> Callable[[], float | None]:
    """Gives the mean loss per answer token on held-out rows, in nats; None without rows."""

    def measure() -> float | None:
        found = measured(loaded, valid)
        tokens = sum(f.tokens for f in found)
        return sum(f.loss for f in found) / tokens if tokens else None

    return measure


def encode_rows(loaded: Loaded, rows: Sequence[Row]) -> list[Encoded]:
    return [encode(loaded.tokenizer, row.messages, loaded.max_length) for row in rows]


def _facts(encoded: list[Encoded], kept: list[Encoded], loaded: Loaded) -> dict[str, Any]:
    """Counts, and one row with its loss marked. Raises TrainingFailed at 0 % or 100 %."""
    tokens = sum(len(row.input_ids) for row in encoded)
    bearing = sum(row.bearing for row in encoded)
    if not bearing:
        raise TrainingFailed(
            "No token of the training rows carries loss: every answer is cut off "
            f"at {loaded.max_length} tokens, or empty.",
            "Raise model.max_length, or shorten the prompts.",
        )
    if bearing == tokens:
        raise TrainingFailed(
            "Every token carries loss, so the prompts would be learned too.",
            "Check that the rows have prompts and that the chat template opens the answer.",
        )
    return {
        "rows": len(kept),
        "rows_cut": sum(row.cut for row in encoded),
        "rows_without_answer_after_cut": len(encoded) - len(kept),
        "tokens": tokens,
        "tokens_bearing_loss": bearing,
        "share_bearing_loss": bearing / tokens,
        "example": mark(loaded.tokenizer, kept[0]),
    }


def trainer(
    loaded: Loaded,
    items: list[dict[str, Any]],
    recipe: Recipe,
    arguments: dict[str, Any],
    wrap: Callable[[type], type],
) -> Any:
    """TRL's SFTTrainer over rows that are tokens already."""
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        **arguments,
        max_length=None,  # rows are cut already, and counted
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return wrap(SFTTrainer)(
        model=loaded.model,
        args=config,
        train_dataset=Dataset.from_list(items),
        processing_class=loaded.tokenizer,
        data_collator=_Collator(DataCollatorForSeq2Seq(loaded.tokenizer, padding=True)),
    )


class _Collator:
    """Pads on the right; the length is for the sampler alone."""

    def __init__(self, pad: Any) -> None:
        self.pad = pad

    def __call__(self, items: list[dict[str, Any]]) -> Any:
        return self.pad([{k: v for k, v in item.items() if k != "length"} for item in items])
