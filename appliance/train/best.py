"""Which of the adapters of a training is kept: early stopping, the best copy, and a hint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.recipe import Recipe

CLEAR = 0.1  # a fall of the held-out loss by more than this share, and by more than
NATS = 0.01  # so many nats, is one that more training would go on with


class Best:
    """The lowest held-out loss so far, its step, and a copy of the weights as they were then.

    The copy holds what is trained alone (an adapter: some hundred MB for 8B weights) in the
    computer's memory, not the GPU's. `patience`: so many losses in a row that are no better end
    training; 0: never.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.loss, self.step, self.in_a_row = math.inf, 0, 0
        self.weights: dict[str, Any] = {}

    def feed(self, step: int, loss: float, *, planned: bool = True) -> bool:
        """Is it the best so far? One that was not planned does not count against the patience."""
        if loss < self.loss:
            self.loss, self.step, self.in_a_row = loss, step, 0
            return True
        self.in_a_row += planned
        return False

    @property
    def over(self) -> bool:
        return 0 < self.patience <= self.in_a_row

    def copy(self, model: Any) -> None:
        """Keep the trained weights as they are now."""
        self.weights = {
            name: weight.detach().to("cpu", copy=True)
            for name, weight in model.named_parameters()
            if weight.requires_grad
        }

    def save(self, path: Path) -> None:
        from safetensors.torch import save_file

        if self.weights:
            save_file(self.weights, path)

    def load(self, path: Path) -> None:
        """What `save` wrote; none where there was no best yet."""
        from safetensors.torch import load_file

        self.weights = load_file(path) if path.is_file() else {}

    def restore(self, model: Any) -> None:
        for name, weight in model.named_parameters():
            if name in self.weights:
                weight.data.copy_(self.weights[name])


def hint(recipe: Recipe, losses: Sequence[float]) -> str:
    """What would help where the held-out loss was still falling at the end; "" where it was not.

    `losses`: the planned held-out losses in their order, of a training that came to its end.
    """
    if len(losses) < 2:
        return ""
    before, last = losses[-2:]
    if not before - last > max(CLEAR * before, NATS):
        return ""
    epochs, r = recipe.train.epochs, recipe.adapter.r
    if recipe.train.max_steps:
        do = "more steps (train.max_steps)"
    elif epochs < 3:
        do = f"more passes (`--set train.epochs={min(3, math.floor(epochs) + 1)}`)"
    elif recipe.adapter.kind != "none" and r < 64:
        more = min(64, 2 * r)
        alpha = round(recipe.adapter.alpha * more / r)  # the same scale
        do = f"a higher rank (`--set adapter.r={more} --set adapter.alpha={alpha}`), or more rows"
    else:
        do = "more rows"
    return (
        f"The held-out loss was still falling at the end ({before:.3f} -> {last:.3f} between the "
        f"last two measurements): {do} would likely gain more."
    )
