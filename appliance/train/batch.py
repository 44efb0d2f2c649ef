"""How many rows are in memory at once; the effective batch is always the recipe's."""

from __future__ import annotations

from typing import Any

from appliance import memory
from appliance.errors import TrainingFailed
from appliance.model import backend
from appliance.recipe import Recipe
from appliance.sizing.batch import cpu_rows, divisor
from appliance.sizing.memory import kept_on_cpu
from appliance.train import processes
from appliance.train.fitting import Fitting

SPARE = 1.1  # what is reckoned was off by less than a tenth (docs/plan.md)


def micro_batch(recipe: Recipe, longest: int, fitting: Fitting | None = None) -> int:
    """Rows at once: a divisor of what each process has of the recipe's effective batch.

    `longest`: tokens of the longest row (a pair counts both sides). On a CPU as many rows as keep
    2,048 tokens even when all are that long; on a GPU what is `fitting`.
    """
    # One number for all processes, whose cards may be free to different sizes.
    fits = processes.of_first(fitting.rows) if fitting else cpu_rows(longest)
    return _divisor(recipe, recipe.train.micro_batch or fits)


def _divisor(recipe: Recipe, most: int) -> int:
    return divisor(processes.share(recipe.train.batch_size), most)


def must_fit(config: Any, micro: int, longest: int, beside: int = 0) -> None:
    """On a CPU nothing can be halved once the system kills the process, so it is reckoned before.

    `config`: the model's; `beside`: tokens that are rehearsed in the same pass. Raises
    TrainingFailed with the numbers.
    """
    there = memory.free()
    if backend.on_gpu() or there is None:
        return
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", 4 * hidden)
    kept = kept_on_cpu(config.num_hidden_layers, inner, hidden, backend.width())
    needed = (micro * longest + beside) * kept * SPARE
    if needed > there:
        raise TrainingFailed(
            f"{micro} rows of {longest} tokens need about {needed / memory.GIB:.0f} GiB of memory, "
            f"and {there / memory.GIB:.0f} GiB are free.",
            "Lower model.max_length or train.micro_batch, or set train.gradient_checkpointing.",
        )


def smaller(recipe: Recipe, micro: int, error: BaseException) -> int:
    """Half as many rows at once, the effective batch stays. Raises TrainingFailed at one row.

    Also in one of several processes: the others wait in the middle of a step that it cannot do.
    """
    if micro > 1 and processes.count() > 1:
        raise TrainingFailed(
            f"The memory of a card does not hold {micro} rows at once.",
            f"Go on in the same run with --set train.micro_batch={_divisor(recipe, micro // 2)} "
            "--force; the effective batch stays.",
        ) from error
    if micro == 1:
        raise TrainingFailed(
            "The memory does not hold one row.",
            "Lower model.max_length or adapter.r, or take model.bits=4; what is on the GPU beside "
            "it is in `appliance doctor`.",
        ) from error
    return _divisor(recipe, micro // 2)


def accumulation(recipe: Recipe, micro: int) -> int:
    """Passes of each process for one step."""
    return processes.share(recipe.train.batch_size) // micro


def batches(recipe: Recipe, micro: int) -> dict[str, int]:
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulation(recipe, micro),
    }
