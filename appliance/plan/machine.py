"""Which machine is planned for: a card by name, or this machine as it is, without torch."""

from __future__ import annotations

import os

from appliance import memory
from appliance.doctor import look, nvidia
from appliance.memory import GIB
from appliance.plan.time import Machine, this_cpu
from appliance.sizing import cards
from appliance.sizing.cards import Price

HOST_CORES = 8  # of a rented machine: what is typical beside one card


def named(gpu: str) -> Machine:
    """A machine with this card. Raises BadInput for one that is not in the table."""
    return Machine(HOST_CORES, card=cards.find(gpu))


def here() -> Machine:
    """This machine: its first GPU that may be used, else its cores."""
    cores = look.cores()
    found = look.card(0.6)
    used = nvidia.chosen(found.gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if used and used[0].total:
        return Machine(cores, card=cards.of_device(used[0].name, used[0].total / 1024))
    return this_cpu(cores)


def price_here(per_hour: float | None) -> Price | None:
    """Of an hour of this machine: as given, else what is typical of its card; None: not known.

    Raises BadInput for a price that is none.
    """
    return cards.price(here().card, per_hour)


def room(machine: Machine) -> float | None:
    """Bytes that a training may take: of the card nearly all, here what is free; None: unknown."""
    if machine.card:
        # The driver, and what falls between the pieces that torch's allocator hands out.
        return machine.card.memory * GIB * 0.97
    free = memory.free()
    return None if free is None else float(free)
