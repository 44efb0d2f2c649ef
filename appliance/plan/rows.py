"""How many rows there are and how long they are, before a model is loaded."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.data.prepare import prepare
from appliance.data.rows import Example, Pair, Row
from appliance.recipe import Recipe
from appliance.run import RunDir

SAMPLE, LONG = 96, 8  # rows that are cut into tokens: drawn, and the longest ones
# Where there is no tokenizer: English text under vocabularies of 50,000 and more, and what a chat
# template adds to a turn.
BYTES, TURN = 4.0, 6.0
_Dialogue = Sequence[Any]


@dataclass(frozen=True)
class Rows:
    """Of the rows of a run. Tokens are means, of a pair over both sides together.

    `shared`: tokens that all rows begin with (the template's opening, a system prompt).
    `around`: tokens that the template puts around a question. `bytes_a_token`: of text.
    `exact`: counted by the model's own tokenizer, on a sample.
    """

    train: int
    valid: int
    test: int
    tokens: float
    longest: int
    answer: float
    longest_answer: int
    shared: int
    labels: bool
    around: float
    bytes_a_token: float
    exact: bool

    def tokens_of(self, text: str) -> float:
        """A question's, as it is asked."""
        return self.around + len(text.encode()) / self.bytes_a_token


@dataclass(frozen=True)
class Some:
    """A draw of the training rows, the longest of them, and how many there are of each use."""

    drawn: list[Example]
    long: list[Example]
    train: int
    valid: int
    test: int


def read(recipe: Recipe, say: Callable[[str], None]) -> Some:
    """Of the recipe's data, split by equal prompts: near ones take longer to find."""
    prepared = prepare(
        recipe.data, preference=recipe.method == "dpo", seed=recipe.train.seed, say=say, near=None
    )
    rows = prepared.train
    drawn = random.Random(recipe.train.seed).sample(rows, min(SAMPLE, len(rows)))
    return Some(
        drawn, sorted(rows, key=size)[-LONG:], len(rows), len(prepared.valid), len(prepared.test)
    )


def of_run(run: RunDir, recipe: Recipe) -> Some:
    """Of a run whose data stage is done: few rows are parsed, so it is quick for any file."""
    kind = Row if recipe.method == "sft" else Pair
    lines = run.train_rows.read_bytes().splitlines()
    drawn = random.Random(recipe.train.seed).sample(lines, min(SAMPLE, len(lines)))
    valid, test = (path.read_bytes().count(b"\n") for path in (run.valid_rows, run.test_rows))

    def parsed(some: Sequence[bytes]) -> list[Example]:
        return [kind.from_json(json.loads(line)) for line in some]

    return Some(parsed(drawn), parsed(sorted(lines, key=len)[-LONG:]), len(lines), valid, test)


def measure(recipe: Recipe, some: Some, folder: Path | None) -> Rows:
    """`folder`: where the model's tokenizer may be."""
    count, around, exact = _counter(folder)
    cut = recipe.model.max_length
    counted = [_sides(row, count) for row in some.drawn]
    long = [_sides(row, count) for row in some.long]
    tokens, longest = (
        [sum(min(len(ids), cut) for ids, _ in sides) for sides in each] for each in (counted, long)
    )
    answers = [min(answer, cut) for sides in counted for _, answer in sides]
    text = sum(map(size, some.drawn))
    plain = sum(len(ids) - around for sides in counted for ids, _ in sides)
    return Rows(
        some.train, some.valid, some.test,
        tokens=_mean(tokens), longest=max([*tokens, *longest]),
        answer=_mean(answers), longest_answer=max(answers),
        shared=_shared([ids for sides in counted for ids, _ in sides]),
        labels=_are_labels(some.drawn), around=around,
        bytes_a_token=max(1.0, text / max(1.0, plain)), exact=exact,
    )  # fmt: skip


def _dialogues(row: Example) -> list[_Dialogue]:
    if isinstance(row, Row):
        return [row.messages]
    return [[*row.prompt, *row.chosen], [*row.prompt, *row.rejected]]


def size(row: Example) -> int:
    return sum(len(m["content"].encode()) for d in _dialogues(row) for m in d)


_Count = Callable[[_Dialogue], tuple[list[int], int]]


def _sides(row: Example, count: _Count) -> list[tuple[list[int], int]]:
    return [count(dialogue) for dialogue in _dialogues(row)]


def _counter(folder: Path | None) -> tuple[_Count, float, bool]:
    """(what gives the tokens of a dialogue and how many its last answer has; those around a
    question; are they the model's own?)"""
    from appliance.errors import ModelError
    from appliance.model.chat import IGNORE, encode, prompt_ids
    from appliance.model.count import Light

    def guessed(messages: _Dialogue) -> tuple[list[int], int]:
        sizes = [len(m["content"].encode()) / BYTES + TURN for m in messages]
        return [0] * round(sum(sizes)), round(sizes[-1])

    try:
        if folder is None:
            return guessed, 2 * TURN, False
        tokenizer: Any = Light(folder)
        around = len(prompt_ids(tokenizer, [{"role": "user", "content": "x"}])) - 1
    except Exception:  # no tokenizer.json, or a template beyond plain Jinja
        return guessed, 2 * TURN, False

    def counted(messages: _Dialogue) -> tuple[list[int], int]:
        try:
            row = encode(tokenizer, messages, 1 << 30)
        except ModelError:  # the template refuses the turns: training says so
            return guessed(messages)
        last = next((i for i, label in enumerate(row.labels[::-1]) if label == IGNORE), 0)
        return row.input_ids, last

    return counted, around, True


def _shared(rows: Sequence[list[int]]) -> int:
    """Tokens that all rows begin with."""
    first, last = min(rows), max(rows)
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (a, b) in pairs if a != b or not a), 0)


def _are_labels(rows: Sequence[Example]) -> bool:
    from appliance.data.split import labels

    answered = [row for row in rows if isinstance(row, Row)]
    return bool(answered) and bool(labels(answered))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
