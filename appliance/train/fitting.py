"""How many rows a GPU holds at once: reckoned once for a model, card and length, and kept.

Where a training ran out of memory all the same, what it went on with is kept in its place.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.disk import read_json, write_json
from appliance.errors import ModelError, NoSpace, RunError
from appliance.home import home
from appliance.memory import GIB
from appliance.model import backend
from appliance.recipe import Recipe
from appliance.sizing import memory
from appliance.sizing.memory import Setting
from appliance.sizing.shape import Shape, shape
from appliance.train import processes

VERSION = 1  # of what is reckoned
STEP = 64  # tokens: lengths are rounded up to it, so that like data share what was found
USABLE = 0.97  # of a card: what falls between the pieces of torch's allocator is lost
UNKNOWN = 4  # rows at once of a model whose memory cannot be reckoned


def card() -> tuple[str, int]:
    """(its name, bytes that this process has or may take)."""
    cuda = backend.torch().cuda
    free, _ = cuda.mem_get_info()
    return cuda.get_device_name(), free + cuda.memory_reserved()


def fitting(recipe: Recipe, config: Any, longest: int, beside: float) -> Fitting | None:
    """None on a CPU, and where the recipe says how many rows."""
    if recipe.train.micro_batch or not backend.on_gpu():
        return None
    return Fitting(recipe, config, longest, beside)


class Fitting:
    """Of one training. `config`: the model's; `longest`: tokens of its longest row; `beside`:
    tokens that are rehearsed with each row."""

    def __init__(self, recipe: Recipe, config: Any, longest: int, beside: float) -> None:
        self.batch = processes.share(recipe.train.batch_size)
        name, self.there = card()
        length = -(-longest // STEP) * STEP
        self.setting = Setting.of(recipe, gpu=True, rows=1, length=length, beside=beside)
        self.shape: Shape | None = None
        with suppress(ModelError):
            self.shape = shape(config.to_dict())
        # What others hold of the card is another card, to about a tenth of a common one.
        facts = [VERSION, self.shape and asdict(self.shape), asdict(self.setting), self.batch, name,
                 round(self.there / GIB / 2)]  # fmt: skip
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
        self.path: Path = home() / "plan" / f"rows-{digest}.json"

    def rows(self) -> int:
        """At once: as kept, else as reckoned; one is tried where not one should fit, and it is
        said."""
        if self.path.is_file():
            try:
                return int(read_json(self.path)["rows"])
            except RunError:
                pass
        if self.shape is None:
            return UNKNOWN
        room = self.there * USABLE
        found = memory.most_rows(self.shape, self.setting, room, self.batch)
        if not found:
            needed = memory.total(memory.step(self.shape, replace(self.setting, rows=1)))
            console.say(
                f"  warning: one row of {self.setting.length} tokens needs about "
                f"{needed / GIB:.1f} GiB of the card's memory, and {room / GIB:.1f} GiB are there"
            )
        else:
            console.say(f"  {found} rows at once fit, of {self.batch} for a step")
        return max(1, found)

    def keep(self, rows: int) -> None:
        """What a training went through with."""
        try:
            write_json(self.path, {"rows": rows})
        except (NoSpace, RunError):
            console.say("  the cache cannot be written, so the rows at once are found anew")
