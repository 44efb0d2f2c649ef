"""The memory that a training step takes, by part, reckoned from a model's shape.

On a GPU its memory; on a CPU the resident memory of the process. docs/plan.md has the sources, and
what was checked against what.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from appliance.memory import GIB
from appliance.recipe import Recipe
from appliance.sizing.shape import Shape

# NF4 in blocks of 64 with an 8-bit scale each, and a 32-bit one for 256 of these (QLoRA, section
# 3: 8/64 + 32/(64 * 256) = 0.127 bits a weight).
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8
# AdamW's two moments: in 8 bit with a 32-bit scale for each block of 256 (bitsandbytes), in fp32.
ADAM_8BIT, ADAM = 2 * (1 + 4 / 256), 8
# On a GPU, for each token of a pass, the backward pass of one layer: gate, up, their product and
# the gradients of the three; seven of the hidden size. What lies between the layers Unsloth keeps
# in the machine's memory. Tested against the longest rows that Unsloth publishes for 8 to 80 GB.
INNER, OUTER = 6, 7
# Without checkpointing all layers keep theirs (Korthikanti et al. 2022, arXiv 2205.05198, eq. 2,
# less what fused kernels do not keep): of the hidden size 8 numbers of 16 bit, of the inner one 4.
KEPT_INNER, KEPT_OUTER = 4, 8
CUDA = 0.6 * GIB  # context, kernels, the workspace of matrix products
LOSS = 0.5 * GIB  # Unsloth computes the loss of a step in pieces of about this size
COPIES = 3  # of a rehearsed token's logits in fp32: the tuned model's, the base's, the gradient
# What is measured while training holds the logits of 512 tokens (`train/measures.py`, BEARING) in
# fp32, and some copies of them; no activations are kept then.
MEASURED = 512 * 4 * 3.5
PAIRS = 2  # numbers for each logit of a pair's tokens: it and its gradient (TRL's DPO)

# On a CPU (measured: benchmarks/memory.py): all layers keep so many numbers of the inner and of the
# hidden size for a token; beside the process. They are of 32 bit where it has no bf16.
CPU_INNER, CPU_OUTER = 6, 11
PROCESS = 0.95 * GIB  # Python with torch, transformers, TRL and Unsloth imported
DENSE = 2 * 2**30  # bytes of dequantized weights that `model/dense.py` lays out at most


@dataclass(frozen=True)
class Setting:
    """What decides the memory of a step. `rows` of `length` tokens at once; `beside`: tokens that
    are rehearsed with each of them, half of which carry loss. `shared`: tokens that rows begin
    with and that are there once (on a CPU). `batch`: rows of a step. `pairs`: does a row
    hold two answers (DPO)? `twice`: of a pair the tokens of its prompt, where both share one.
    `width`: bytes of a number that is computed with."""

    gpu: bool
    bits: int
    kind: str
    r: int
    targets: tuple[str, ...]
    checkpointing: bool
    rows: int
    length: int
    beside: float = 0.0
    shared: int = 0
    batch: int = 1
    pairs: bool = False
    twice: float = 0.0
    width: int = 2

    @property
    def tokens(self) -> float:
        """Of one pass."""
        own = self.length - self.twice + self.beside
        return self.rows * own - max(0, self.rows - 1) * self.shared

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        *,
        gpu: bool,
        rows: int,
        length: int,
        beside: float = 0.0,
        shared: int = 0,
        width: int = 2,
    ) -> Setting:
        asked = recipe.train.gradient_checkpointing
        adapter = recipe.adapter
        return cls(
            gpu,
            recipe.model.bits,
            adapter.kind,
            adapter.r,
            adapter.target_modules,
            gpu if asked is None else asked,
            rows,
            length,
            beside,
            shared,
            recipe.train.batch_size,
            recipe.method == "dpo",
            width=width,
        )


def step(shape: Shape, setting: Setting) -> dict[str, float]:
    """Bytes by part, as they are taken. Raises ModelError for targets that the model has not."""
    whole = setting.kind == "none"
    parts = {"weights": _linear_bytes(shape, setting), "embedding": _kept_bytes(shape, setting)}
    trained = (
        shape.weights
        if whole
        else shape.adapter_weights(setting.r, setting.targets, setting.kind == "dora")
    )
    parts["adapter"] = trained * 4.0  # kept in fp32; of a full fine-tuning the base's own beside
    activations = _activations(shape, setting)
    kept = setting.checkpointing or setting.rows < setting.batch
    # In a step of one pass gradients come as activations go.
    parts["gradients"] = trained * 4.0 if kept else max(0.0, trained * 4.0 - activations)
    parts["optimizer"] = trained * (ADAM_8BIT if setting.gpu else ADAM)
    parts["activations"] = activations
    logits = setting.rows * setting.beside / 2 * shape.vocabulary * 4.0 * COPIES
    if setting.pairs:
        logits += setting.rows * setting.length * shape.vocabulary * PAIRS * setting.width
    elif setting.gpu:
        logits += LOSS
    parts["logits"] = max(logits, MEASURED * shape.vocabulary - activations)
    parts["CUDA" if setting.gpu else "process"] = CUDA if setting.gpu else PROCESS
    return parts


def total(parts: dict[str, float]) -> float:
    return sum(parts.values())


def _linear_bytes(shape: Shape, setting: Setting) -> float:
    if setting.kind == "none":
        return shape.linear_weights * 4.0
    if setting.bits == 16:
        return shape.linear_weights * float(setting.width)
    packed = shape.linear_weights * NF4
    dense = (shape.linear_weights + shape.output_weights) * float(setting.width)
    if setting.gpu or dense > DENSE:  # one layer dequantized at a time
        return packed + shape.largest_linear * float(setting.width)
    # Laid out for products, one way and the other; and the pages of the 16-bit file that they were
    # read from, which the system takes back where memory is short.
    return packed + 2 * dense + shape.linear_weights * 2.0


def _kept_bytes(shape: Shape, setting: Setting) -> float:
    return shape.kept_weights * (4.0 if setting.kind == "none" else float(setting.width))


def _activations(shape: Shape, setting: Setting) -> float:
    tokens = setting.tokens
    inner, outer = shape.intermediate, shape.hidden
    one = 2.0 * (INNER * inner + OUTER * outer)
    if not setting.gpu:
        if setting.checkpointing:
            return tokens * (one + 2.0 * shape.layers * outer) * setting.width / 2
        return tokens * kept_on_cpu(shape.layers, inner, outer, setting.width)
    if setting.checkpointing:
        return tokens * one
    return tokens * (one + 2.0 * shape.layers * (KEPT_INNER * inner + KEPT_OUTER * outer))


def kept_on_cpu(layers: int, inner: int, hidden: int, width: int) -> float:
    """Bytes that a CPU keeps of each token for the backward pass, in numbers of `width` bytes."""
    return float(width) * layers * (CPU_INNER * inner + CPU_OUTER * hidden)


def longest(shape: Shape, setting: Setting, there: float) -> int:
    """Tokens of the longest row that `there` bytes hold, alone; the model's own limit at most."""

    def needed(length: int) -> float:
        return total(step(shape, replace(setting, rows=1, length=length, beside=0.0, twice=0.0)))

    most = min(shape.positions, 1 << 24)
    return bisect_right(range(most), there, key=lambda i: needed(i + 1))


def most_rows(shape: Shape, setting: Setting, there: float, batch: int) -> int:
    """Rows at once that `there` bytes hold: the largest divisor of `batch`; 0 where not one."""
    for rows in _divisors(batch):
        if total(step(shape, replace(setting, rows=rows))) <= there:
            return rows
    return 0


def _divisors(batch: int) -> Iterator[int]:
    """From the largest on."""
    return (rows for rows in range(batch, 0, -1) if batch % rows == 0)
