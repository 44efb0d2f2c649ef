"""Rehearsal rows beside every step's task rows, by any of TRL's trainers.

The task's own loss stays as the trainer computes it. Beside it each step takes some general
dialogues and adds the loss on their answers (SA-SFT, arXiv 2602.20162), the KL to the base on
them, or both. The base is the same model with its adapter switched off. The task's batch, steps
and schedule stay the recipe's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import cycle, islice
from typing import Any

from appliance.model.adapter import switched_off
from appliance.model.chat import Encoded
from appliance.model.likelihood import bearing_logprobs, block
from appliance.model.load import Loaded


class Rehearsal:
    """Takes general dialogues in their order, and gives their term of the loss.

    rows_per_step: may be a fraction; what is owed adds up. loss_weight: of the mean loss per
    answer token, in nats. kl_weight: of KL(base || tuned) at the same tokens, in nats: `weighed`.
    """

    def __init__(
        self,
        loaded: Loaded,
        rows: Sequence[Encoded],
        rows_per_step: Fraction,
        *,
        loss_weight: float,
        kl_weight: float,
    ) -> None:
        self.loaded, self.rows_per_step = loaded, rows_per_step
        self.loss_weight, self.kl_weight = loss_weight, kl_weight
        self.rows = list(rows)
        self.turns: Iterator[Encoded] = cycle(self.rows)
        self.seen_rows = self.seen_tokens = 0
        self.owed = Fraction(0)
        self.last_kl: float | None = None

    def go_on(self, step: int) -> None:
        """As after `step` steps: at the end of each, what was owed until then is taken."""
        self.seen_rows = int(self.rows_per_step * step)
        self.owed = self.rows_per_step * step - self.seen_rows
        lengths = [len(row.input_ids) for row in self.rows]
        rounds, rest = divmod(self.seen_rows, len(lengths))
        self.seen_tokens = rounds * sum(lengths) + sum(lengths[:rest])
        self.turns = islice(cycle(self.rows), rest, None)

    def term(self, model: Any, accumulation: int) -> Any:
        """One micro-batch's part, as a mean: rows are owed evenly over a step's micro-batches.

        None where this micro-batch owes no whole row yet.
        """
        count = self.owe(accumulation)
        if not count:
            return None
        rows = [next(self.turns) for _ in range(count)]
        self.seen_rows += count
        self.seen_tokens += sum(len(row.input_ids) for row in rows)
        inputs, labels = block(rows, self.loaded.tokenizer)
        tuned, owner, target = bearing_logprobs(model, inputs, labels)
        loss = tuned.new_zeros(())
        if self.loss_weight:
            loss = loss - self.loss_weight * tuned.gather(-1, target[:, None]).mean()
        if self.kl_weight:
            kl = weighed(self._kl(model, inputs, labels, tuned), owner)
            self.last_kl = float(kl.detach())
            loss = loss + self.kl_weight * kl
        # A step's mean over its rows: this micro-batch holds `count` of them.
        return loss * float(count * accumulation / self.rows_per_step)

    def owe(self, accumulation: int) -> int:
        """How many rows the next micro-batch takes, so that a step gets its number."""
        self.owed += self.rows_per_step / accumulation
        count = int(self.owed)
        self.owed -= count
        return count

    def _kl(self, model: Any, inputs: dict[str, Any], labels: Any, tuned: Any) -> Any:
        """KL(base || tuned) at each place that carries loss [n], in nats."""
        import torch

        with torch.no_grad(), switched_off(self.loaded):
            base, _, _ = bearing_logprobs(model, inputs, labels)
        return (base.exp() * (base - tuned)).sum(-1)

    def facts(self) -> dict[str, Any]:
        """What was rehearsed: for train.json."""
        return {"rows": self.seen_rows, "tokens": self.seen_tokens, "last_kl": self.last_kl}


def weighed(values: Any, owner: Any) -> Any:
    """The mean over the first places of the rows, and the mean over all others, added.

    At its first token an answer goes one way or the other, the task's or the base's; in a mean over
    all tokens it would hardly count. owner [n]: the row of each place, rows one after another.
    """
    first = owner.diff(prepend=owner[:1] - 1) != 0
    rest = values[~first]
    return values[first].mean() + (rest.mean() if len(rest) else 0)


def rehearsing(trainer_class: type, rehearsal: Rehearsal | None) -> type:
    """`trainer_class` with the rehearsal's term added to its loss; itself where there is none."""
    if rehearsal is None:
        return trainer_class
    rehearsed = rehearsal

    class Rehearsing(trainer_class):
        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
            **kwargs: Any,
        ) -> Any:
            loss = super().compute_loss(
                model,
                inputs,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,
                **kwargs,
            )
            if not model.training:
                return loss
            accumulation = self.current_gradient_accumulation_steps
            term = rehearsed.term(model, accumulation)
            if term is None:
                return loss
            # transformers divides by the accumulation itself unless the loss was already divided
            # by the items of the whole step.
            divides = not self.model_accepts_loss_kwargs or num_items_in_batch is None
            return loss + (term if divides else term / accumulation)

    return Rehearsing
