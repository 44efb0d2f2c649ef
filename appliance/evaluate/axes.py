"""The axes of behaviour: the items of each suite asked, and what was said scored.

What a model says is apart from how it is scored (`Said`), so the base's answers can be kept for
all tasks. An answer is judged on one axis alone: a refusal where nothing was to be refused counts
on the safety axis, an answer in the task's form or a machine's, or none at all, on the format axis;
on the others they are set apart. So what turned red says what broke.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from appliance import statistics
from appliance.evaluate import answers
from appliance.evaluate.asking import ask, losses
from appliance.evaluate.checks import holds, wants_machine_form
from appliance.evaluate.habit import Style, broken, empty, machine_form
from appliance.evaluate.refusal import is_refusal
from appliance.evaluate.suite import Item, Suite
from appliance.model.load import Loaded

TOO_LONG = "the prompt is longer than model.max_length"
Said = dict[str, Any]  # {"answer", "cut", "error"}, of a choice {"losses"}
Scores = dict[str, Any]
Items = list[dict[str, Any]]


def said_to(loaded: Loaded, suites: Sequence[Suite]) -> dict[str, list[Said]]:
    """What the model says to each item of each suite, by axis. Suites of one room are one batch."""
    found: dict[str, list[Said]] = {suite.axis: [{}] * len(suite.items) for suite in suites}
    rooms: dict[int, list[tuple[str, int, Item]]] = defaultdict(list)
    choices: list[tuple[str, int, Item]] = []
    for suite in suites:
        for place, item in enumerate(suite.items):
            where = choices if item.kind == "choice" else rooms[suite.room]
            where.append((suite.axis, place, item))
    for room, items in sorted(rooms.items()):
        names = ", ".join(dict.fromkeys(axis for axis, _, _ in items))
        said = ask(loaded, [_asked(item) for _, _, item in items], room, names)
        for (axis, place, _), answer in zip(items, said, strict=True):
            found[axis][place] = {
                "answer": answer.text if answer else "",
                "cut": bool(answer and answer.cut),
                "error": "" if answer else TOO_LONG,
            }
    for (axis, place, _), value in zip(choices, _choices(loaded, choices), strict=True):
        found[axis][place] = {"losses": value}
    return found


def _asked(item: Item) -> list[dict[str, str]]:
    return [{"role": "user", "content": item.prompt}]


def _choices(loaded: Loaded, items: Sequence[tuple[str, int, Item]]) -> list[list[float]]:
    """Of each item the loss of each of its choices as the answer, in nats."""
    if not items:
        return []
    told = [
        [*_asked(item), {"role": "assistant", "content": choice}]
        for _, _, item in items
        for choice in item.choices
    ]
    rest = iter(losses(loaded, told, "choices"))
    return [[next(rest).loss for _ in item.choices] for _, _, item in items]


def score(suite: Suite, said: Sequence[Said], style: Style) -> tuple[Scores, Items]:
    """The axis: share of its items that are right, with interval and n, and the items."""
    items = [_scored(suite, i, s, style) for i, s in zip(suite.items, said, strict=True)]
    values = [item["score"] for item in items]
    parts = sorted({item["part"] for item in items} - {""})
    levels = sorted({item.level for item in suite.items})
    chances = [1 / len(item.choices) if item.choices else 0.0 for item in suite.items]
    return {
        "version": suite.version,
        **_share(values),
        "asked": len(items),
        "cut": sum(item["cut"] for item in items),
        "apart": dict(Counter(item["apart"] for item in items if item["apart"])),
        "chance": sum(chances) / len(chances),
        "parts": {p: [i for i, item in enumerate(items) if item["part"] == p] for p in parts},
        "levels": {
            str(n): _share([v for v, i in zip(values, suite.items, strict=True) if i.level == n])
            for n in levels
        },
        "items": values,
    }, items


def _share(values: Sequence[float | None]) -> Scores:
    return statistics.share([value == 1 for value in values if value is not None])


def _scored(suite: Suite, item: Item, said: Said, style: Style) -> dict[str, Any]:
    """One item with what was said to it: `score` 1, 0 or None, and why it was set `apart`."""
    text = said.get("answer", "")
    found: dict[str, Any] = {
        "probe": "axis",
        "axis": suite.axis,
        "id": item.id,
        "level": item.level,
        "part": ("should refuse" if item.refuse else "should answer")
        if item.kind == "refuse"
        else "",
        "prompt": item.prompt,
        "answer": text,
        "cut": bool(said.get("cut")),
        "error": said.get("error", ""),
        "apart": "",
    }
    if item.kind == "choice":
        sizes = [len(choice.encode()) for choice in item.choices]
        picked = answers.choice_score(said["losses"], sizes)
        return found | {"answer": item.choices[picked], "score": float(picked == item.answer)}
    if found["error"]:
        return found | {"score": None, "apart": "error"}
    if item.kind == "form":
        leak, spoiled = style.leaks(text), broken(text)
        return found | {"score": float(not leak and not spoiled), "leak": leak, "broken": spoiled}
    apart = _apart(item, text, style)
    if apart:
        return found | {"score": None, "apart": apart}
    value = _value(item, text)
    return found | {"score": value, "apart": "not parsed" if value is None else ""}


def _apart(item: Item, text: str, style: Style) -> str:
    """Which other axis this answer belongs to, or ""."""
    if empty(text):
        return "empty"
    if style.marks_of(text):
        return "in the task's form"
    if machine_form(text) and not (item.kind == "checks" and wants_machine_form(item.checks)):
        return "in a machine's form"
    if item.kind != "refuse" and is_refusal(text):
        return "refused"
    return ""


def _value(item: Item, text: str) -> float | None:
    if item.kind == "checks":
        return float(all(holds(check, text) for check in item.checks))
    if item.kind == "refuse":
        return float(is_refusal(text) == item.refuse)
    return answers.score(item, text)
