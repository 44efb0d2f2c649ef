"""How long each stage takes: its work over what the machine gets through.

On a CPU the matrix products bound everything; on a GPU they bound training, and the memory's
bandwidth and the launch of each layer's kernels bound the writing of answers, which are asked 64
at once. docs/plan.md has where each number comes from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import ceil

from appliance.evaluate.asking import ROWS_AT_ONCE
from appliance.memory import text
from appliance.plan.work import Work
from appliance.recipe import Recipe
from appliance.sizing.cards import Card
from appliance.sizing.memory import NF4
from appliance.sizing.shape import Shape

# GFLOP/s of matrix products for each core, by what it has for them: in bf16 400 were measured on 2
# cores with avx512_bf16, in fp32 64 on 2 with avx2. The others are estimates of the same kind.
CORE = (("amx_bf16", 500.0), ("avx512_bf16", 200.0), ("avx512f", 60.0), ("avx2", 32.0), ("", 10.0))
BF16 = {"amx_bf16", "avx512_bf16", "bf16"}  # a CPU's flags, of which one says that it has it
# On a CPU, what is reached of it: of the embedded default, measured on 2 cores (docs/plan.md).
READS, WRITES, TRAINS = 0.62, 0.40, 0.42
ADAPTED = 1.6  # how much longer reading and writing take beside an adapter

# On a GPU. Of the dense rate, as LLaMA-Factory's table of LLaMA2-7B in 4 bit by Unsloth on an A100
# gives it, 1,024 to 16,384 tokens a pass; and for each layer and training pass the launches.
REACHED, LAUNCHES = 0.5, 0.0023
LAYER = 0.0008  # seconds of a layer when answers are written by transformers' `generate`
FILLS = 4096  # tokens at once of what is only read

IMPORTS = 15.0  # seconds, once: torch, transformers, TRL, Unsloth
DISK = 1.0e9  # bytes/s of weights that are read and quantized
OPENS = 6.0  # what a model takes to open beside its weights
WRITTEN_OUT, PROOF = 0.25e9, 18.0  # merge, bytes/s; two processes that ask plain transformers
ROWS = 2800.0  # rows/s of the audit (benchmarks/results/audit-200000.json)
PLAIN_CPU = 40e9  # FLOP/s of the proof's plain transformers, in fp32, for each core


@dataclass(frozen=True)
class Machine:
    """`card`: None on a CPU. `measured`: seconds of a training step as measured over those
    reckoned (`--calibrate`); 1 where nothing was."""

    cores: int
    flags: str = ""
    card: Card | None = None
    measured: float = 1.0

    @property
    def width(self) -> int:
        """Bytes of a number that it computes with: Unsloth takes fp32 on a CPU without bf16."""
        return 2 if self.card or BF16 & set(self.flags.split()) else 4

    @property
    def rate(self) -> float | None:
        """FLOP/s of dense 16-bit matrix products; None where it is not known."""
        if self.card:
            return self.card.rate * 1e12 if self.card.rate else None
        words = self.flags.split()
        return self.cores * 1e9 * next(r for flag, r in CORE if not flag or flag in words)


def this_cpu(cores: int) -> Machine:
    found = re.search(r"(?m)^flags\s*:\s*(.*)$", text("/proc/cpuinfo"))
    return Machine(cores, found[1] if found else "")


def seconds(
    work: dict[str, Work], shape: Shape, recipe: Recipe, machine: Machine, rows: int
) -> dict[str, float] | None:
    """By stage; None where the machine's rate is not known."""
    if machine.rate is None:
        return None
    found = {"data": 1.0 + rows / ROWS}
    for stage, its in work.items():
        found[stage] = spent(its, shape, recipe, machine) + its.loads * _load(shape)
    found["baseline"] += IMPORTS
    found["export"] += _export(shape, recipe, machine)
    return found


def spent(its: Work, shape: Shape, recipe: Recipe, machine: Machine) -> float:
    """Seconds of the model's work alone, on a machine whose rate is known."""
    if machine.card:
        return _gpu(its, shape, recipe, machine.card, machine.measured)
    return _cpu(its, shape, recipe, machine.rate or 1.0, machine.measured)


def _load(shape: Shape) -> float:
    return OPENS + shape.weights * 2 / DISK


def _export(shape: Shape, recipe: Recipe, machine: Machine) -> float:
    if not recipe.export.formats:
        return 0.0
    answered = 12 * 24 * 2 * 2 * shape.weights / (PLAIN_CPU * machine.cores)
    return PROOF + shape.weights * 2 / WRITTEN_OUT + answered


def operations(its: Work, shape: Shape, recipe: Recipe, recomputed: bool) -> float:
    """FLOP of training: 2 for each weight and token forward, 2 for the gradient of what a layer is
    given, 2 more where the weights themselves are trained; forward again where recomputed (Kaplan
    et al. 2020, arXiv 2001.08361; of LoRA the frozen weights get no gradient)."""
    each = 4 + 2 * recomputed + 2 * (recipe.adapter.kind == "none")
    layers = shape.linear_weights * (its.trained * each + its.compared * 2)
    return layers + shape.output_weights * its.bearing * each


def _cpu(its: Work, shape: Shape, recipe: Recipe, rate: float, measured: float) -> float:
    slower = ADAPTED if its.adapted else 1.0
    written = sum(a.answers * a.room * a.written for a in its.asked)
    read = its.read + sum(a.answers * a.prompt for a in its.asked)
    forward = 2 * (shape.linear_weights * read + shape.output_weights * its.scored)
    recomputed = bool(recipe.train.gradient_checkpointing)
    trained = operations(its, shape, recipe, recomputed) / (rate * TRAINS)
    # Matrix products bound all of it, so what a step showed of them holds for all.
    return measured * (
        slower * forward / (rate * READS)
        + slower * 2 * (shape.linear_weights + shape.output_weights) * written / (rate * WRITES)
        + trained * its.around
    )


def moved(shape: Shape, bits: int, rows: bool = True) -> float:
    """Bytes that go through a GPU's memory when each weight is used once: of 4 bit it is read,
    written dequantized and read again."""
    each = NF4 + 4 if bits == 4 else 2.0
    return shape.linear_weights * each + (2.0 * shape.output_weights if rows else 0.0)


def _gpu(its: Work, shape: Shape, recipe: Recipe, card: Card, measured: float) -> float:
    rate, bandwidth = (card.rate or 1) * 1e12 * REACHED, (card.bandwidth or 1) * 1e9
    once = moved(shape, recipe.model.bits) / bandwidth
    steps = sum(ceil(a.answers / ROWS_AT_ONCE) * a.room for a in its.asked)
    writes = steps * (once + shape.layers * LAYER)
    tokens = its.read + sum(a.answers * a.prompt for a in its.asked)
    reads = tokens * 2 * shape.linear_weights / rate
    reads += ceil(tokens / FILLS) * (once + shape.layers * LAYER)
    # All tokens of a pass go through the output layer, not the bearing ones alone.
    whole = replace(its, bearing=its.trained)
    recomputed = recipe.train.gradient_checkpointing is not False
    trains = operations(whole, shape, recipe, recomputed) / rate
    trains += its.passes * (3 * once + shape.layers * LAUNCHES)
    return writes + reads + trains * its.around * measured
