"""The arms: named sets of recipe overrides, each one remedy against forgetting, or none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.errors import RecipeError
from appliance.recipe import Recipe, load
from appliance.run import differences

# Arms are compared on the same rows, asked and measured in the same way.
SHARED = ("method", "data.", "audit.", "evaluate.", "train.seed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class Arm:
    """`sets` are laid over the recipe, whose learning rate is multiplied by `rate`.

    `rank` replaces the adapter's, at the same scale alpha / r.
    """

    name: str
    text: str
    sets: tuple[str, ...] = ()
    rate: float = 1.0
    rank: int | None = None

    def recipe(self, name: str, overrides: Iterable[str] = ()) -> Recipe:
        """Recipe `name` with the user's overrides and this arm's over them. Raises RecipeError."""
        given = load(name, overrides)
        sets = list(self.sets)
        if self.rate != 1:
            sets.append(f"train.learning_rate={given.train.learning_rate * self.rate:g}")
        if self.rank:
            alpha = max(1, round(self.rank * given.adapter.alpha / given.adapter.r))
            sets += [f"adapter.r={self.rank}", f"adapter.alpha={alpha}"]
        found = load(name, [*overrides, *sets])
        shared = [d for d in differences(given, found) if d.startswith(SHARED)]
        if shared:
            raise RecipeError(
                f"Arm {self.name} changes {shared[0]}: arms share the rows and how they are "
                "measured.",
                "Give it with --set, for all arms.",
            )
        return found


def _laid(*sets: str) -> tuple[str, ...]:
    """Of two for one key the later."""
    return tuple(f"{key}={value}" for key, value in dict(s.split("=", 1) for s in sets).items())


NOTHING = (
    "rehearsal.self=false",
    "rehearsal.sources=[]",
    "rehearsal.loss=0",
    "anchor.kl=0",
    "ewc.strength=0",
)


def _own(*sets: str) -> tuple[str, ...]:
    """Nothing but the base's own dialogues, and what is done with them."""
    return _laid(*NOTHING, "rehearsal.self=true", "rehearsal.share_of_rows=0.2", *sets)


ARMS = {
    arm.name: arm
    for arm in (
        Arm("plain", "Nothing against forgetting.", NOTHING),
        Arm("documented", "Plain, as Unsloth documents it: alpha = r, batches of 16, linear.",
            (*NOTHING, "adapter.r=16", "adapter.alpha=16", "train.batch_size=16",
             "train.schedule=linear")),
        Arm("low_rate", "Plain, at a quarter of the learning rate.", NOTHING, rate=0.25),
        Arm("rank64", "Plain, with an adapter of rank 64.", NOTHING, rank=64),
        Arm("dora", "Plain, with a DoRA adapter (Liu et al. 2024).",
            (*NOTHING, "adapter.kind=dora")),
        Arm("rank_stabilized", "Plain, the adapter scaled by 1/sqrt(r) (Kalajdzievski 2023).",
            (*NOTHING, "adapter.rank_stabilized=true")),
        Arm("rehearsal", "The base's own dialogues as training rows, a fifth of all (SA-SFT).",
            _own("rehearsal.loss=1")),
        Arm("rehearsal10", "The same, a tenth of all rows.",
            _own("rehearsal.loss=1", "rehearsal.share_of_rows=0.1")),
        Arm("rehearsal30", "The same, three tenths of all rows.",
            _own("rehearsal.loss=1", "rehearsal.share_of_rows=0.3")),
        Arm("kl", "KL to the base on its own dialogues, a fifth of all rows.",
            _own("anchor.kl=1")),
        Arm("kl3", "The same, three times as strong.", _own("anchor.kl=3")),
        Arm("rehearsal+kl", "The base's own dialogues as training rows, and the KL on them.",
            _own("rehearsal.loss=1", "anchor.kl=1")),
        Arm("ewc", "Elastic weight consolidation on the base's own dialogues.",
            _own("ewc.strength=1", "rehearsal.share_of_rows=0")),
        Arm("ewc+kl", "Elastic weight consolidation and the KL, on the base's own dialogues.",
            _own("ewc.strength=1", "anchor.kl=1")),
        Arm("lora16", "Plain LoRA on the 16-bit base in place of the 4-bit one.",
            (*NOTHING, "model.bits=16")),
        Arm("full", "Full fine-tuning in 16 bit, plain, at a tenth of the learning rate.",
            (*NOTHING, "model.bits=16", "adapter.kind=none"), rate=0.1),
        Arm("default", "The recipe as it is."),
    )
}  # fmt: skip


def choose(names: Sequence[str], written: Sequence[str] = ()) -> list[Arm]:
    """The arms of --arms, then those of --arm `name:key=value,key=value`. Raises RecipeError."""
    arms = [_known(name) for name in names] + [parse(text) for text in written]
    twice = next((a.name for a in arms if [b.name for b in arms].count(a.name) > 1), None)
    if twice:
        raise RecipeError(f"Arm {twice} is named twice.", "Name each arm once.")
    if not arms:
        raise RecipeError("No arm is named.", f"Known: {', '.join(ARMS)}.")
    return arms


def parse(text: str) -> Arm:
    """`name:key=value,key=value`. A comma inside a value (a list) stays in it."""
    name, sign, rest = text.partition(":")
    sets = tuple(re.split(r",(?=[\w.]+=)", rest))
    if not sign or not _NAME.fullmatch(name) or not all("=" in s for s in sets):
        raise RecipeError(
            f"--arm {text} is not name:key=value,key=value.",
            "Write e.g. --arm half:rehearsal.self=true,anchor.kl=0.5.",
        )
    return Arm(name, "Given with --arm.", sets)


def _known(name: str) -> Arm:
    if name in ARMS:
        return ARMS[name]
    near = difflib.get_close_matches(name, ARMS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise RecipeError(
        f"There is no arm {name}.", f"{hint}Known: {', '.join(ARMS)}; or write one with --arm."
    )
