"""Rehearsal rows beside every step's task rows, by any of TRL's trainers.

The task's own loss stays as the trainer computes it. Beside it each step takes some general
dialogues and adds the loss on their answers (SA-SFT, arXiv 2602.20162), the KL to the base on
them, or both. The base is the same model with its adapter switched off. The task's batch, steps
and schedule stay the recipe's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, islice
from math import ceil
from typing import Any

from appliance.model.at_once import Group
from appliance.model.chat import Encoded
from appliance.model.likelihood import at_bearing, bearing, bearing_logits, block
from appliance.model.load import Loaded
from appliance.model.packed import Riders, riding
from appliance.train import processes
from appliance.train.base_says import BaseSays


@dataclass(frozen=True)
class Turn:
    """The rows that one micro-batch rehearses, `share` of its step's."""

    rows: Group
    labels: Any
    riders: Riders
    share: float


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
        self.turns: Iterator[int] = cycle(range(len(self.rows)))
        self.seen_rows = self.seen_tokens = 0
        self.owed = Fraction(0)
        self.last_kl: float | None = None
        self.base = BaseSays(loaded)

    def ask_base(self) -> None:
        """What the base says of every row, before training: it is the same at each turn."""
        self.base.ask(self.rows, keep=bool(self.kl_weight))

    def go_on(self, step: int) -> None:
        """As after `step` steps: at the end of each, what was owed until then is taken."""
        self.seen_rows = int(self.rows_per_step * step)
        self.owed = self.rows_per_step * step - self.seen_rows
        lengths = [len(row.input_ids) for row in self.rows]
        rounds, rest = divmod(self.seen_rows, len(lengths))
        self.seen_tokens = rounds * sum(lengths) + sum(lengths[:rest])
        self.turns = islice(cycle(range(len(self.rows))), rest, None)

    def turn(self, accumulation: int) -> Turn | None:
        """What the next micro-batch rehearses; None where it owes no whole row yet.

        Several processes take from the same rows, each what is its own micro-batch's.
        """
        accumulation *= processes.count()
        turns = [self._take(self.owe(accumulation)) for _ in range(processes.count())]
        taken = turns[processes.number()]
        if not taken:
            return None
        inputs, labels = block([self.rows[i] for i in taken], self.loaded.tokenizer)
        share = float(len(taken) * accumulation / self.rows_per_step)
        return Turn(taken, labels, Riders(inputs), share)

    def _take(self, count: int) -> list[int]:
        taken = [next(self.turns) for _ in range(count)]
        self.seen_rows += count
        self.seen_tokens += sum(len(self.rows[i].input_ids) for i in taken)
        return taken

    def owe(self, accumulation: int) -> int:
        """How many rows the next micro-batch takes, so that a step gets its number."""
        self.owed += self.rows_per_step / accumulation
        count = int(self.owed)
        self.owed -= count
        return count

    def tokens_per_step(self) -> float:
        """Where all are as long as the longest."""
        return float(self.rows_per_step) * max(len(r.input_ids) for r in self.rows)

    def most_tokens(self, accumulation: int) -> int:
        """That one micro-batch rehearses."""
        return ceil(self.rows_per_step / (accumulation * processes.count())) * max(
            len(r.input_ids) for r in self.rows
        )

    def term(self, model: Any, turn: Turn) -> Any:
        """The turn's part of its step's mean over rows."""
        owner, target = bearing(turn.labels)
        tuned = self._tuned(model, turn).float().log_softmax(-1)
        loss = tuned.new_zeros(())
        if self.loss_weight:
            loss = loss - self.loss_weight * tuned.gather(-1, target[:, None]).mean()
        if self.kl_weight:
            base = self.base.of(model, turn)
            kl = weighed((base.exp() * (base - tuned)).sum(-1), owner)
            self.last_kl = float(kl.detach())
            loss = loss + self.kl_weight * kl
        return loss * turn.share

    def _tuned(self, model: Any, turn: Turn) -> Any:
        """Logits [n, vocabulary]: of what rode in the task's pass, else by a pass of its own."""
        if turn.riders.hidden is None:
            return bearing_logits(model, turn.riders.inputs, turn.labels)[0]
        return model.get_output_embeddings()(at_bearing(turn.riders.hidden, turn.labels))

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
            accumulation = self.current_gradient_accumulation_steps
            turn = rehearsed.turn(accumulation) if model.training else None
            with riding(turn.riders if turn and rehearsed.base.direct else None):
                loss = super().compute_loss(
                    model,
                    inputs,
                    return_outputs=return_outputs,
                    num_items_in_batch=num_items_in_batch,
                    **kwargs,
                )
            if turn is None:
                return loss
            term = rehearsed.term(self.accelerator.unwrap_model(model), turn)
            # transformers divides by the accumulation itself unless the loss was already divided
            # by the items of the whole step.
            divides = not self.model_accepts_loss_kwargs or num_items_in_batch is None
            return loss + (term if divides else term / accumulation)

    return Rehearsing
