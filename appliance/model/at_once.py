"""How many rows are asked at once: batches of like length, halved where memory ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from appliance.console import console
from appliance.errors import ModelError
from appliance.model import backend

Group = list[int]  # indices of rows


def batches(lengths: Sequence[int], budget: int, largest: int) -> list[Group]:
    """Indices in batches of like length: at most `largest` rows and `budget` padded tokens."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    out: list[Group] = []
    for index in order:
        if out and len(out[-1]) < largest and (len(out[-1]) + 1) * lengths[index] <= budget:
            out[-1].append(index)
        else:
            out.append([index])
    return out


def ask_all(groups: Sequence[Group], ask: Callable[[Group], None]) -> None:
    """`ask` each group; where a GPU has no memory for one, in halves, and none so large again.

    `ask` must leave nothing of a group that it did not get through. Raises ModelError when a
    single row is too much.
    """
    torch = backend.torch()
    waiting = deque(groups)
    most = max(map(len, groups), default=0)
    while waiting:
        group = waiting.popleft()
        if len(group) > most:
            waiting.extendleft([group[most:], group[:most]])
            continue
        if _held(torch, ask, group):
            continue
        if len(group) == 1:
            raise ModelError(
                "The memory does not hold one row beside the model.",
                "Lower model.max_length, or take model.bits=4; what is on the GPU beside it is in "
                "`appliance doctor`.",
            )
        most = len(group) // 2
        waiting.appendleft(group)
        console.say(f"  out of memory: from here on {most} rows at once")


def _held(torch: Any, ask: Callable[[Group], None], group: Group) -> bool:
    """False where memory ran out. The error, which holds what was computed, is gone by then."""
    try:
        ask(group)
        return True
    except torch.OutOfMemoryError:
        pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
