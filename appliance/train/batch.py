"""How many rows are in memory at once; the effective batch is always the recipe's."""

from __future__ import annotations

from typing import Any

from appliance import memory
from appliance.errors import TrainingFailed
from appliance.model import backend
from appliance.recipe import Recipe

# Tokens at once on a CPU. The embedded model keeps about 2 MB of activations for each, so this is
# 4 GiB; more would not be faster on few cores.
CPU_TOKENS = 2048
KEPT = 125  # bytes for the backward pass of each token, layer and hidden size: measured on it


def micro_batch(recipe: Recipe, longest: int) -> int:
    """Rows at once: a divisor of the recipe's effective batch.

    `longest`: tokens of the longest row (a pair counts both sides). On a CPU as many rows as keep
    CPU_TOKENS even when all are that long; on a GPU 4.
    """
    wanted = recipe.train.micro_batch or (4 if backend.on_gpu() else CPU_TOKENS // longest)
    return _divisor(recipe, wanted)


def _divisor(recipe: Recipe, most: int) -> int:
    whole = recipe.train.batch_size
    return max(m for m in range(1, max(1, min(most, whole)) + 1) if whole % m == 0)


def must_fit(config: Any, micro: int, longest: int, beside: int = 0) -> None:
    """On a CPU nothing can be halved once the system kills the process, so it is reckoned before.

    `config`: the model's; `beside`: tokens that are rehearsed in the same pass. Raises
    TrainingFailed with the numbers.
    """
    there = memory.free()
    if backend.on_gpu() or there is None:
        return
    needed = (micro * longest + beside) * config.num_hidden_layers * config.hidden_size * KEPT
    if needed > there:
        raise TrainingFailed(
            f"{micro} rows of {longest} tokens need about {needed / memory.GIB:.0f} GiB of memory, "
            f"and {there / memory.GIB:.0f} GiB are free.",
            "Lower model.max_length or train.micro_batch, or set train.gradient_checkpointing.",
        )


def smaller(recipe: Recipe, micro: int, error: BaseException) -> int:
    """Half as many rows at once, the effective batch stays. Raises TrainingFailed at one row."""
    if micro == 1:
        raise TrainingFailed(
            "The memory does not hold one row.",
            "Lower model.max_length or adapter.r, or take model.bits=4; what is on the GPU beside "
            "it is in `appliance doctor`.",
        ) from error
    return _divisor(recipe, micro // 2)


def batches(recipe: Recipe, micro: int) -> dict[str, int]:
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": recipe.train.batch_size // micro,
    }
