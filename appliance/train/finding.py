"""What every alarm has in common: the records that it is fed, and the finding that it gives.

Pure: no torch here. A record has `step` and `epoch` (passes over the rows so far), and what was
measured then: `loss` (the task's own, nats per answer token) and `grad_norm` at each step,
`held_out_loss` and `drift` (nats per token) now and then, for DPO TRL's `rewards/chosen`,
`rewards/rejected`, `rewards/margins` and `rewards/accuracies`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

SMOOTH = 10  # steps that a figure is averaged over before it may raise an alarm
Record = Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """What an alarm found. `rises`: False is a note, and the alarm goes on looking."""

    name: str
    text: str
    numbers: dict[str, float] = field(default_factory=dict)
    rises: bool = True


class Mean:
    """The mean of the last `size` values."""

    def __init__(self, size: int) -> None:
        self.values: deque[float] = deque(maxlen=max(1, size))

    def add(self, value: float) -> None:
        self.values.append(value)

    @property
    def full(self) -> bool:
        return len(self.values) == self.values.maxlen

    @property
    def value(self) -> float:
        return sum(self.values) / len(self.values) if self.values else math.nan


class Alarm:
    """One warning sign. `asks`: it wants the held-out loss to be measured now."""

    name = ""
    risen = asks = False

    def feed(self, record: Record) -> Finding | None:
        """The finding at the record at which it rises; None at all others."""
        if self.risen:
            return None
        found = self.look(record)
        self.risen = found is not None and found.rises
        return found

    def look(self, record: Record) -> Finding | None:
        raise NotImplementedError
