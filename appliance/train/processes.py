"""One training in several processes, one for each card, as torchrun starts them.

Each holds the whole model and takes its part of every step's rows (torch's DistributedDataParallel,
which averages the gradients). What depends on time, on a signal or on the disk is decided by one
for all, or they would wait for one another; the first alone writes. In one process all of this does
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from appliance.model import backend

LONGEST = timedelta(minutes=30)  # that one waits for another: transformers' own limit
_Kind = TypeVar("_Kind")
_number, _count = 0, 1


def begin() -> None:
    """Join the other processes. torchrun's environment says how many and where (RANK, …)."""
    global _number, _count
    backend.unsloth()
    from accelerate import PartialState

    state = PartialState(cpu=not backend.on_gpu(), timeout=LONGEST)
    _number, _count = state.process_index, state.num_processes
    if not backend.on_gpu():
        # accelerate names the CPU cpu:0, and torch.load knows no such place for an optimizer.
        backend.torch().serialization.register_package(
            30, lambda storage: None, lambda storage, place: storage if place == "cpu:0" else None
        )


def end() -> None:
    """Leave them, when all are through."""
    wait()
    if _count > 1:
        _together().destroy_process_group()


def count() -> int:
    return _count


def number() -> int:
    """This one's, from 0."""
    return _number


def share(batch_size: int) -> int:
    """Rows of a step that each process takes."""
    return batch_size // _count


def wait() -> None:
    """Until all are here."""
    if _count > 1:
        _together().barrier()


def anyone(it: bool) -> bool:
    """Is it so in any of them?"""
    if _count == 1:
        return it
    found = _held(float(it))
    _together().all_reduce(found, op=_together().ReduceOp.MAX)
    return bool(found.item())


def first_says(it: Callable[[], bool]) -> bool:
    """Is it so in the first?"""
    return anyone(_number == 0 and it())


def mean(value: float | None) -> float | None:
    """Over all of them; None where it is None, in all alike."""
    if _count == 1 or value is None:
        return value
    found = _held(value)
    _together().all_reduce(found)
    return float(found.item()) / _count


def of_first(what: Callable[[], _Kind]) -> _Kind:
    """What the first finds; the others wait for it."""
    if _count == 1:
        return what()
    found = [what() if _number == 0 else None]
    _together().broadcast_object_list(found)
    return found[0]  # type: ignore[return-value]


def as_first_has(tensor: Any) -> None:
    """The tensor becomes what it is in the first."""
    if _count > 1:
        _together().broadcast(tensor, 0)


def _together() -> Any:
    import torch.distributed

    return torch.distributed


def _held(value: float) -> Any:
    return backend.torch().tensor(value, dtype=backend.torch().float64, device=backend.device())
