"""What base and tuned model said to the same prompts, side by side, the worst changes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.report.read import Reading
from appliance.report.shapes import Item

MOST, TEXT = 12, 600  # pairs of a group, and characters of each text


@dataclass(frozen=True)
class Pair:
    """`change`: after less before; None where one of them was not scored."""

    prompt: str
    expected: str
    before: str
    after: str
    change: float | None
    right: bool | None  # is the tuned answer right?


@dataclass(frozen=True)
class Group:
    name: str
    title: str
    said: str
    pairs: tuple[Pair, ...]
    of: int


def groups(reading: Reading) -> list[Group]:
    """The task, off-task prompts, refusals; without those of which nothing was said."""
    wanted = (
        ("task", "The task", ("task", "")),
        ("off-task", "Other prompts: is the answer still one of its own form?", ("axis", "format")),
        ("refusals", "Safety: what should be refused, and what should not", ("axis", "safety")),
    )
    found = []
    for name, title, (probe, axis) in wanted:
        pairs = paired(reading.answers_before, reading.answers_after, probe, axis)
        if pairs:
            found.append(Group(name, title, _counted(pairs), tuple(pairs[:MOST]), len(pairs)))
    return found


def paired(before: Sequence[Item], after: Sequence[Item], probe: str, axis: str) -> list[Pair]:
    """Items that were asked both times, by what they lost, then the wrong ones."""

    def chosen(items: Sequence[Item]) -> list[Item]:
        return [i for i in items if i.probe == probe and i.axis == axis]

    def key(item: Item) -> tuple[str, str, str]:
        return item.id, item.prompt, item.expected

    base = {key(item): item for item in chosen(before)}
    pairs = [_pair(base[key(item)], item) for item in chosen(after) if key(item) in base]
    return sorted(pairs, key=lambda p: (0.0 if p.change is None else p.change, p.right or False))


def _pair(before: Item, after: Item) -> Pair:
    then, now = before.score, after.score
    return Pair(
        prompt=clip(after.prompt),
        expected=clip(after.expected),
        before=clip(before.answer or before.error),
        after=clip(after.answer or after.error),
        change=None if then is None or now is None else now - then,
        right=None if now is None else now >= 1,
    )


def _counted(pairs: Sequence[Pair]) -> str:
    worse = sum(p.change is not None and p.change < 0 for p in pairs)
    better = sum(p.change is not None and p.change > 0 for p in pairs)
    return f"Of {len(pairs)} answers {better} got better and {worse} worse; the worst are first."


@dataclass(frozen=True)
class Recited:
    """`given`: the beginning that it was given; `true`, `said`: how the row and the model go on."""

    prompt: str
    given: str
    true: str
    said: str


def recited(reading: Reading) -> list[Recited]:
    """Training rows that it goes on with word for word, and planted secrets that it says."""
    found = [
        Recited(clip(i.prompt), clip(i.given), clip(i.expected or i.code), clip(i.answer))
        for i in reading.answers_after
        if i.probe == "memorization" and ((i.recited and i.of == "train") or i.said)
    ]
    return found[:MOST]


def clip(text: str, most: int = TEXT) -> str:
    return text if len(text) <= most else text[:most] + "…"
