"""Suites: files of items that a program can score. Which there are, their form, and reading them.

An item is one line of JSON. All have `prompt`, and may have `id` and `level` (1 easy to 3 hard, so
that a model of 135M and one of 8B both score between floor and ceiling). The rest is its kind:

    {"choices": ["Paris", "Rome"], "answer": 0}      the likelier choice, by likelihood
    {"accept": ["Paris"]} or {"number": 12}          an answer that is generated
    {"checks": [{"kind": "words", "most": 20}]}      constraints on what is generated (checks.py)
    {"refuse": true}                                 should it be refused? (refusal.py)

One of a prompt alone is judged by the form of its answer (habit.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from appliance.errors import DataError
from appliance.evaluate.checks import fault
from appliance.recipe import Recipe

Kind = Literal["choice", "answer", "checks", "refuse", "form"]
FOLDER = Path(__file__).parent / "suites"
# The suites that come with the appliance, and their versions: raised whenever an item changes,
# because results are comparable only within a version.
VERSIONS = {"off_task": 1, "instruction": 1, "knowledge": 1, "reasoning": 1, "safety": 1}
AXES = {"off_task": "format"}  # of the others the axis has the suite's name
ROOM = {"instruction": 80, "knowledge": 24, "reasoning": 80, "safety": 32}  # tokens of an answer
OTHER_ROOM = 80


@dataclass(frozen=True)
class Item:
    """One item. Of `choices`, `accept`, `number`, `checks`, `refuse` those of its kind are set."""

    id: str
    prompt: str
    kind: Kind
    level: int = 1
    choices: tuple[str, ...] = ()
    answer: int = 0
    accept: tuple[str, ...] = ()
    number: float | None = None
    checks: tuple[Mapping[str, Any], ...] = ()
    refuse: bool = False


@dataclass(frozen=True)
class Suite:
    """`room`: tokens of a generated answer, at most. `axis`: what its scores are called."""

    axis: str
    version: str
    room: int
    items: tuple[Item, ...] = field(repr=False)


def chosen(recipe: Recipe) -> list[Suite]:
    """The suites that the recipe names (`evaluate`); the off-task one comes first."""
    section = recipe.evaluate
    off_task = "off_task" if section.off_task == "builtin" else section.off_task
    first = replace(load(off_task), axis=AXES["off_task"], room=section.answer_tokens)
    found = [first, *(load(name) for name in section.suites)]
    names = [suite.axis for suite in found]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise DataError(f"evaluate.suites names {twice} twice.", "Name each suite once.")
    return found


def load(name: str) -> Suite:
    """A suite by the name of a shipped one or a JSONL file. Raises DataError naming the line."""
    shipped = name in VERSIONS
    path = FOLDER / f"{name}.jsonl" if shipped else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"evaluate.suites: {name} cannot be read.",
            f"Name a JSONL file, or some of {', '.join(VERSIONS)}.",
        ) from error
    items = [
        _item(line, number, path)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    ]
    if not items:
        raise DataError(f"{path} is empty.", "Give at least one item, or leave the suite out.")
    twice = {i.id for i in items if [j.id for j in items].count(i.id) > 1}
    if twice:
        raise DataError(f"{path}: the id {min(twice)} is given twice.", "Give each item its own.")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    axis = AXES.get(name, name) if shipped else path.stem
    version = str(VERSIONS[name]) if shipped else digest
    return Suite(axis, version, ROOM.get(name, OTHER_ROOM), tuple(items))


def _item(line: str, number: int, path: Path) -> Item:
    def wrong(what: str) -> DataError:
        return DataError(
            f"{path}, line {number}: {what}.",
            'An item is {"prompt": "..."}, alone or with one of choices and answer, accept, '
            "number, checks or refuse; docs/evaluation.md shows each.",
        )

    try:
        fields = json.loads(line)
    except ValueError as error:
        raise wrong("it is no JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("prompt"), str):
        raise wrong("it has no `prompt`")
    kinds: dict[str, Kind] = {"choices": "choice", "accept": "answer", "number": "answer",
                              "checks": "checks", "refuse": "refuse"}  # fmt: skip
    given = [key for key in kinds if key in fields]
    if len(given) > 1:
        raise wrong(f"it has {' and '.join(given)}, of which it can have one")
    # `kind` is a note in the off-task suite: what sort of prompt it is.
    known = {"id", "prompt", "level", "kind", *given, *(["answer"] if "choices" in given else [])}
    unknown = set(fields) - known
    if unknown:
        raise wrong(f"unknown field {min(unknown)}")
    if fields.get("level", 1) not in (1, 2, 3):
        raise wrong("level is not 1, 2 or 3")
    made: dict[str, Any] = {}
    for key in given:
        if said := _wrong_value(key, fields):
            raise wrong(said)
        made[key] = tuple(v) if isinstance(v := fields[key], list) else v
    if "choices" in given:
        made["answer"] = fields["answer"]
    return Item(
        id=str(fields.get("id", number)),
        prompt=fields["prompt"],
        kind=kinds[given[0]] if given else "form",
        level=fields.get("level", 1),
        **made,
    )


def _wrong_value(key: str, fields: dict[str, Any]) -> str:
    """What is wrong with an item's own field, or ""."""
    value = fields[key]
    if key in ("choices", "accept"):
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            return f"{key} is not a list of texts"
        if len(value) < (2 if key == "choices" else 1):
            return f"{key} has too few entries"
    if key == "choices" and fields.get("answer") not in range(len(value)):
        return "answer is not the place of one of the choices, from 0"
    if key == "number" and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        return "number is not a number"
    if key == "refuse" and not isinstance(value, bool):
        return "refuse is not true or false"
    if key == "checks":
        if not isinstance(value, list) or not value:
            return "checks is not a list of checks"
        return next((said for said in map(fault, value) if said), "")
    return ""
