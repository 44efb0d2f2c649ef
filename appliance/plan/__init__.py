"""What a run will need, before anything is loaded: memory, hours and money.

    recipe -> model.py (config.json), rows.py (the data) -> work.py (what each stage has to do)
           -> sizing/memory.py, time.py -> Plan

Everything is reckoned: no weights are read and torch is not imported.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from appliance.evaluate.suite import chosen
from appliance.memory import GIB
from appliance.plan import calibration, model, rows, time, work
from appliance.plan import machine as machines
from appliance.plan.calibration import Measured
from appliance.plan.model import Named
from appliance.plan.rows import Rows, Some
from appliance.plan.time import Machine
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.sizing import memory
from appliance.sizing.batch import cpu_rows, divisor
from appliance.sizing.cards import Price, price
from appliance.sizing.memory import Setting
from appliance.sizing.shape import Shape

__all__ = ["Plan", "of_run", "price", "reckon"]
MAYBE = ("dial",)  # only where the gate fails


@dataclass(frozen=True)
class Plan:
    """memory: bytes by part. there: bytes that there are; None: unknown. seconds: by stage; None
    where the card's speed is not known. largest_rows: rows of the longest length at once; 0: not
    one. longest_row: tokens of a row alone that fit. folder: where the model's tokenizer may be.
    measured: what steps took here, by which the figures are corrected."""

    recipe: Recipe
    machine: Machine
    model: str
    shape: Shape
    rows: Rows
    said: tuple[str, ...]
    setting: Setting
    memory: dict[str, float]
    there: float | None
    largest_rows: int | None
    longest_row: int | None
    seconds: dict[str, float] | None
    price: Price | None
    folder: Path | None
    measured: Measured | None

    @property
    def needed(self) -> float:
        return memory.total(self.memory)

    @property
    def fits(self) -> bool:
        return self.there is None or self.needed <= self.there

    @property
    def total_seconds(self) -> float | None:
        """Without what is only done where the gate fails."""
        if self.seconds is None:
            return None
        return sum(s for stage, s in self.seconds.items() if stage not in MAYBE)

    @property
    def cost(self) -> float | None:
        """Dollars for the whole run."""
        total = self.total_seconds
        return None if self.price is None or total is None else total / 3600 * self.price.per_hour

    def to_json(self) -> dict[str, Any]:
        card = self.machine.card
        return {
            "model": {"name": self.model, "weights": self.shape.weights,
                      "trained": self.trained},
            "machine": {"card": card.key if card else None, "name": card.name if card else "CPU",
                        "cores": self.machine.cores,
                        "memory_gib": _gib(self.there)},
            "rows": {"train": self.rows.train, "valid": self.rows.valid, "test": self.rows.test,
                     "tokens": round(self.rows.tokens, 1), "longest": self.rows.longest,
                     "tokens_counted": self.rows.exact},
            "steps": self.recipe.steps(self.rows.train),
            "memory_gib": {part: _gib(size) for part, size in self.memory.items()},
            "needed_gib": _gib(self.needed),
            "fits": self.fits,
            "rows_at_once": self.setting.rows,
            "largest_rows_at_once": self.largest_rows,
            "longest_row": self.longest_row,
            "seconds": None if self.seconds is None
            else {stage: round(s, 1) for stage, s in self.seconds.items()},
            "total_seconds": None if self.total_seconds is None else round(self.total_seconds, 1),
            "measured": asdict(self.measured) if self.measured else None,
            "price_per_hour": self.price.per_hour if self.price else None,
            "price_source": self.price.listed if self.price else None,
            "dollars": None if self.cost is None else round(self.cost, 3),
            "lines": self.lines(),
        }  # fmt: skip

    @property
    def trained(self) -> int:
        adapter = self.recipe.adapter
        if adapter.kind == "none":
            return self.shape.weights
        return self.shape.adapter_weights(adapter.r, adapter.target_modules, adapter.kind == "dora")

    def brief(self) -> dict[str, Any]:
        """For the events of a run."""
        total = self.total_seconds
        stages = {s: round(took, 1) for s, took in (self.seconds or {}).items() if s not in MAYBE}
        return {
            "seconds": None if total is None else round(total, 1),
            "gib": _gib(self.needed),
            "stages": stages,
            "per_hour": self.price.per_hour if self.price else None,
        }

    def lines(self) -> list[str]:
        from appliance.plan.lines import lines

        return lines(self)


def reckon(
    recipe: Recipe,
    *,
    gpu: str | None = None,
    per_hour: float | None = None,
    corrected: bool = True,
) -> Plan:
    """The plan of a whole run on `gpu` (None: on this machine), at `per_hour` dollars; `corrected`
    by what was measured on this machine, where it was.

    Reads the recipe's data. Raises DataError, ModelError, and BadInput for an unknown card or a
    bad price.
    """
    machine = machines.named(gpu) if gpu else machines.here()
    charged = price(machine.card, per_hour)
    said: list[str] = []
    named = model.named(recipe.model)
    some = rows.read(recipe, said.append)
    some = replace(some, train=some.train + _canary_rows(recipe))
    known = corrected and gpu is None
    return _plan(recipe, machine, named, some, charged, said, known)


def of_run(run: RunDir, recipe: Recipe, charged: Price | None = None) -> Plan:
    """The same of a run whose data stage is done, on this machine."""
    machine, named = machines.here(), model.named(recipe.model)
    charged = charged or price(machine.card)
    return _plan(recipe, machine, named, rows.of_run(run, recipe), charged, [], True)


def _plan(
    recipe: Recipe,
    machine: Machine,
    named: Named,
    some: Some,
    charged: Price | None,
    said: list[str],
    corrected: bool,
) -> Plan:
    found = rows.measure(recipe, some, named.folder)
    measured = calibration.known(named.shape, recipe, machine) if corrected else None
    if measured:
        machine = replace(machine, measured=measured.time)
    shape, on_gpu = named.shape, machine.card is not None
    there = machines.room(machine)
    length = found.longest
    checkpointing = recipe.train.gradient_checkpointing
    packed = not on_gpu and not checkpointing
    # Tokens that are rehearsed with each row of the task.
    general = work.GENERAL if packed else work.GENERAL + found.around
    beside = work.rehearsed_rows(recipe) / recipe.train.batch_size * general
    shared = found.shared if packed else 0
    one = Setting.of(
        recipe, gpu=on_gpu, rows=1, length=length, beside=beside, shared=shared, width=machine.width
    )
    if one.pairs and packed:
        one = replace(one, twice=max(0.0, length / 2 - found.longest_answer))
    largest = longest = None
    factor = measured.memory if measured else 1.0
    if there is not None:
        largest = memory.most_rows(shape, one, there / factor, recipe.train.batch_size)
        longest = memory.longest(shape, one, there / factor)
    wanted = recipe.train.micro_batch or ((largest or 1) if on_gpu else cpu_rows(length))
    setting = replace(one, rows=divisor(recipe.train.batch_size, wanted))
    its_work = work.of(recipe, found, chosen(recipe), micro=setting.rows, packed=packed, gpu=on_gpu)
    return Plan(
        recipe, machine, named.name, shape, found, tuple(said), setting,
        _corrected(memory.step(shape, setting), factor), there, largest, longest,
        time.seconds(its_work, shape, recipe, machine, found.train), charged, named.folder,
        measured,
    )  # fmt: skip


def _corrected(parts: dict[str, float], factor: float) -> dict[str, float]:
    return parts if factor == 1 else parts | {"correction": memory.total(parts) * (factor - 1)}


def _canary_rows(recipe: Recipe) -> int:
    """Rows of made-up secrets that are planted."""
    from appliance.data.canaries import make

    planted = make(recipe.train.seed) if recipe.evaluate.canaries else []
    return sum(canary.repeats for canary in planted)


def _gib(size: float | None) -> float | None:
    return None if size is None else round(size / GIB, 3)
