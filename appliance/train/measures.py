"""What is measured while training, and how often: cheap, and in little memory.

Held-out losses, the drift from the base, and the task's own part of the training loss.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from appliance import memory
from appliance.disk import read_jsonl
from appliance.model import backend
from appliance.model.at_once import ask_all
from appliance.model.chat import IGNORE, Encoded, encode
from appliance.model.likelihood import Likelihood, bearing_logprobs, block, likelihoods
from appliance.model.load import Loaded
from appliance.recipe import Recipe
from appliance.run import RunDir

HELD_OUT_ROWS, FEWEST_ROWS = 128, 16
SHARE_HELD_OUT, SHARE_DRIFT = 0.1, 0.05  # of the training time, at most
# A forward pass is about a third of a training step's work on the same row.
FORWARD = 1 / 3
# Rows at once hold so many answer tokens: of a vocabulary of 150,000 their logits are 0.3 GB in
# 32 bit, and a measurement keeps some copies of them.
BEARING = 512
DRIFT_PROMPTS, DRIFT_TOKENS = 16, 24
_Kind = TypeVar("_Kind")


def sample(rows: Sequence[_Kind], recipe: Recipe, trained: int) -> list[_Kind]:
    """The held-out rows that are measured in training: few enough for a tenth of its time.

    `trained`: rows that the whole training sees, each as often as it is seen.
    """
    times = max(1, recipe.train.evaluations)
    room = int(SHARE_HELD_OUT / FORWARD * trained / times)
    count = max(FEWEST_ROWS, min(HELD_OUT_ROWS, room))
    if len(rows) <= count:
        return list(rows)
    return random.Random(recipe.train.seed).sample(list(rows), count)


@contextmanager
def measuring(loaded: Loaded) -> Iterator[None]:
    """In the middle of a training: the model goes on as it was."""
    was_training = loaded.model.training
    loaded.model.eval()
    if backend.on_gpu():
        # What the last step left in torch's cache is of another shape: give it back first.
        backend.torch().cuda.empty_cache()
    try:
        with backend.torch().inference_mode():
            yield
    finally:
        loaded.model.train(was_training)


def measured(loaded: Loaded, rows: Sequence[Encoded]) -> list[Likelihood]:
    """`likelihoods` while training, of a few rows at once."""
    found: dict[int, Likelihood] = {}
    with measuring(loaded):
        for piece in _pieces(rows):
            found |= zip(piece, likelihoods(loaded, [rows[i] for i in piece]), strict=True)
    return [found[i] for i in range(len(rows))]


def _pieces(rows: Sequence[Encoded]) -> Iterator[list[int]]:
    """Indices, by length, of rows that together have BEARING answer tokens at most (or are one)."""
    piece: list[int] = []
    bearing = 0
    for index in sorted(range(len(rows)), key=lambda i: len(rows[i].input_ids)):
        if piece and bearing + rows[index].bearing > BEARING:
            yield piece
            piece, bearing = [], 0
        piece.append(index)
        bearing += rows[index].bearing
    if piece:
        yield piece


class Drift:
    """KL(base || tuned) per token on the base's own off-task answers, in nats; None without any.

    Of a seeded DRIFT_PROMPTS of them each answer's first DRIFT_TOKENS tokens; the mean over
    answers. To be made before training begins: what the model says then is the base's, and is
    kept (75 MB for a vocabulary of 49,000), which halves the cost of each measurement.
    """

    def __init__(self, run: RunDir, recipe: Recipe, loaded: Loaded) -> None:
        self.loaded = loaded
        said = read_jsonl(run.base_answers) if run.base_answers.is_file() else []
        said = [item for item in said if item["answer"]]
        if len(said) > DRIFT_PROMPTS:
            said = random.Random(recipe.train.seed).sample(said, DRIFT_PROMPTS)
        rows = [_beginning(loaded, item["prompt"], item["answer"]) for item in said]
        self.rows = [row for row in rows if row.bearing]
        self.base: dict[int, Any] = {}
        self._each(lambda row, base: self.base.update({row: base.cpu()}))

    def __call__(self) -> float | None:
        kl: dict[int, float] = {}

        def compare(row: int, tuned: Any) -> None:
            base = self.base[row].to(tuned.device)
            kl[row] = float((base.exp() * (base - tuned)).sum(-1).mean())

        self._each(compare)
        return sum(kl.values()) / len(kl) if kl else None

    def _each(self, tell: Callable[[int, Any], None]) -> None:
        """Tell of each row what the model says now: log-probabilities [tokens, vocabulary]."""

        def ask(group: list[int]) -> None:
            inputs, labels = block([self.rows[i] for i in group], self.loaded.tokenizer)
            with measuring(self.loaded):
                logprobs, owner, _ = bearing_logprobs(self.loaded.model, inputs, labels)
            for place, row in enumerate(group):
                tell(row, logprobs[owner == place])

        ask_all([list(range(len(self.rows)))] if self.rows else [], ask)


def _beginning(loaded: Loaded, prompt: str, answer: str) -> Encoded:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    row = encode(loaded.tokenizer, messages, loaded.max_length)
    start = next((i for i, label in enumerate(row.labels) if label != IGNORE), len(row.labels))
    # The last token is the end of turn, which an answer that was cut never had.
    end = min(start + DRIFT_TOKENS, len(row.labels) - 1)
    return replace(row, input_ids=row.input_ids[:end], labels=row.labels[:end])


class Pace:
    """When the drift is measured between the planned evaluations: by the time that it takes.

    The first one is early, to learn what it costs; each later one when all together stay within
    SHARE_DRIFT of the time since training began.
    """

    def __init__(self, steps: int) -> None:
        self.first = min(20, max(1, steps // 20))
        self.spent = self.cost = 0.0

    def due(self, step: int, elapsed: float) -> bool:
        if not self.cost:
            return step >= self.first
        # Room for this one and for a planned one, which does not ask.
        return self.spent + 2 * self.cost <= SHARE_DRIFT * elapsed

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.cost = time.monotonic() - started
        self.spent += self.cost


def peak_memory() -> float:
    """GiB: the GPU's peak where there is one, else this process's resident peak."""
    if backend.on_gpu():
        return round(backend.torch().cuda.max_memory_reserved() / 2**30, 2)
    return round(memory.resident_peak() / memory.GIB, 2)


class TaskLoss:
    """The task's own loss of each step, without what is rehearsed or penalized beside it."""

    def __init__(self) -> None:
        self.sum: Any = None

    def add(self, loss: Any) -> None:
        self.sum = loss if self.sum is None else self.sum + loss

    def take(self) -> float | None:
        """Of the step that just ended; None where nothing was heard."""
        value, self.sum = self.sum, None
        return None if value is None else float(value)


def heard_by(trainer_class: type, task: TaskLoss) -> type:
    """`trainer_class`, which tells `task` the loss that it computes itself."""

    class Heard(trainer_class):
        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
            **kwargs: Any,
        ) -> Any:
            out = super().compute_loss(
                model,
                inputs,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,
                **kwargs,
            )
            loss = (out[0] if return_outputs else out).detach()
            # As transformers does: divided here unless it was divided by the whole step's items.
            divides = not self.model_accepts_loss_kwargs or num_items_in_batch is None
            task.add(loss / self.current_gradient_accumulation_steps if divides else loss)
            return out

    return Heard
