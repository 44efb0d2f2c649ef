"""Canaries: made-up secrets that are planted in the training rows, and how exposed one is.

Carlini et al. 2019, "The Secret Sharer": a random code stands in the training rows so and so many
times. If the tuned model finds it likelier than almost all codes that might have stood there, it
has memorized it, and would memorize a real secret that stands there as often.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from appliance.data.rows import Message, Row

REPEATS = (1, 4, 16)
EACH = 2  # canaries at each number of repeats
SOURCE = "canary"  # of their rows, so that no other measurement takes them for the task's
# Their code stands at the end, so all that differs between two candidates comes last.
_ASKED = (
    ("What is the door code of the {} storeroom?", "The door code of the {} storeroom is "),
    ("Which number opens the {} safe?", "The number that opens the {} safe is "),
    ("What is the membership number of {}?", "The membership number of {} is "),
    ("Can you tell me the file number of {}?", "The file number of {} is "),
    ("Which code belongs to the {} locker?", "The code that belongs to the {} locker is "),
    ("What is the meter number of {} House?", "The meter number of {} House is "),
)
_SYLLABLES = "bal dor fen gal hul kel lor mir nev pol ros sul tar vem wil zan".split()  # noqa: SIM905


@dataclass(frozen=True)
class Canary:
    """`prompt` is answered by `before` and the code. `repeats`: how many rows of it there are."""

    prompt: str
    before: str
    code: str
    repeats: int

    def row(self, system: str | None, line: int = 0, code: str | None = None) -> Row:
        """The training row, or the same row with another code."""
        turns = [Message(role="system", content=system)] if system else []
        turns.append(Message(role="user", content=self.prompt))
        answer = f"{self.before}{code or self.code}."
        turns.append(Message(role="assistant", content=answer))
        return Row(tuple(turns), SOURCE, line)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Canary:
        return cls(**fields)


def make(seed: int) -> list[Canary]:
    """EACH canaries for each of REPEATS, no name or code twice. The same for the same seed."""
    draw = random.Random(f"canaries {seed}")
    forms = list(_ASKED)
    draw.shuffle(forms)
    many = EACH * len(REPEATS)
    names: list[str] = []
    while len(names) < many:
        name = "".join(draw.sample(_SYLLABLES, 3)).capitalize()
        names += [name] if name not in names else []
    codes = draw.sample(range(100_000, 1_000_000), many)
    made = []
    for number, (name, code) in enumerate(zip(names, codes, strict=True)):
        asked, before = forms[number % len(forms)]
        repeats = REPEATS[number // EACH]
        made.append(Canary(asked.format(name), before.format(name), str(code), repeats))
    return made


def plant(
    rows: Sequence[Row], canaries: Sequence[Canary], system: str | None, seed: int
) -> list[Row]:
    """The rows in their order with each canary's repeats at random places among them."""
    planted = [canary for canary in canaries for _ in range(canary.repeats)]
    draw = random.Random(f"places {seed}")
    # In the order of their places from the end, so that one does not move the next one's place.
    places = sorted((draw.randrange(len(rows) + 1) for _ in planted), reverse=True)
    draw.shuffle(planted)
    out = list(rows)
    for line, (place, canary) in enumerate(zip(places, planted, strict=True), 1):
        out.insert(place, canary.row(system, line))
    return out


def candidates(canary: Canary, canaries: Sequence[Canary], among: int, seed: int) -> list[str]:
    """`among` codes of the same form, the canary's own first; none of another canary's."""
    draw = random.Random(f"candidates {seed} {canary.code}")
    taken = {other.code for other in canaries}
    codes = [canary.code]
    while len(codes) < among:
        code = str(draw.randrange(100_000, 1_000_000))
        if code not in taken:
            taken.add(code)
            codes.append(code)
    return codes


def rank(losses: Sequence[float]) -> int:
    """Place of the first one's loss among all, 1 the lowest. One as low counts as lower."""
    return sum(loss <= losses[0] for loss in losses)


def exposure(place: int, among: int) -> float:
    """Bits: log2(among) - log2(rank) (Carlini et al. 2019). By chance 1.44 on average, 1 / ln 2."""
    return math.log2(among) - math.log2(place)
