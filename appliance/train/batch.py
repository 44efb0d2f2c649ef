"""How many rows are in memory at once; the effective batch is always the recipe's."""

from __future__ import annotations

from appliance.errors import TrainingFailed
from appliance.model import backend
from appliance.recipe import Recipe

# Tokens at once on a CPU. The embedded model keeps about 1.3 MB of activations for each, so this
# is 5 GiB; more would not be faster on few cores.
CPU_TOKENS = 4096


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
