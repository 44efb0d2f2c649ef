"""How long rows are, which are cut at the model's length, and answers out of proportion."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from appliance.data.audit.findings import Hits
from appliance.data.audit.table import Table
from appliance.data.rows import Message, Row

SAMPLE, STEP, MOST = 2000, 1000, 60_000
# Three steps without a cut row end the search: shorter rows are cut even less.
QUIET = 3
# (tokens of the row, tokens of its last answer)
Count = Callable[[Sequence[Sequence[Message]]], list[tuple[int, int]]]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Template:
    """The model's own template: counts tokens as training does, and knows its marks."""

    count: Count
    special: tuple[str, ...]
    max_length: int


def dialogues(table: Table, rows: Sequence[int]) -> list[list[Message]]:
    """What is tokenized of each row: of a pair the longer of its two dialogues."""
    made = []
    for number in rows:
        row = table.row(number)
        if isinstance(row, Row):
            made.append(list(row.messages))
        else:
            longer = max(row.chosen, row.rejected, key=lambda m: sum(len(t["content"]) for t in m))
            made.append([*row.prompt, *longer])
    return made


def tokens(table: Table, template: Template, seed: int) -> tuple[dict[str, Any], Hits]:
    """Token lengths of a sample, and the training rows that are cut.

    No text has more tokens than bytes, so rows short enough in bytes cannot be cut and are not
    counted. The others are counted longest first, until thousands in a row are not cut.
    """
    train = table.of("train")
    picked = train.tolist()
    if len(picked) > SAMPLE:
        picked = sorted(random.Random(seed).sample(picked, SAMPLE))
    sample = template.count(dialogues(table, picked))
    whole = np.array([total for total, _ in sample])
    facts = {
        "unit": "tokens",
        "sample": len(picked),
        "of": len(train),
        "limit": template.max_length,
        **_spread(whole),
    }
    hits = Hits("truncated")
    lost = answers = counted = quiet = 0
    suspects = _suspects(table, train, template)
    for begin in range(0, min(len(suspects), MOST), STEP):
        rows = suspects[begin : begin + STEP]
        cut = 0
        for number, (total, said) in zip(rows, template.count(dialogues(table, rows)), strict=True):
            over = total - template.max_length
            if over > 0:
                cut += 1
                lost += over
                gone = over >= said
                answers += gone
                note = "all of the answer is cut" if gone else f"{over} of {said} answer tokens cut"
                hits.add(number, note=note)
        counted += len(rows)
        quiet = 0 if cut else quiet + 1
        if quiet == QUIET:
            break
    hits.rows = type(hits.rows)("q", sorted(hits.rows))
    hits.facts = {"tokens cut": lost, "answers cut whole": answers, "rows counted": counted}
    if counted < len(suspects) and quiet < QUIET:
        share = float((whole > template.max_length).mean())
        hits.facts["estimate of all cut rows"] = round(share * len(train))
    return facts, hits


def _suspects(table: Table, train: Any, template: Template) -> list[int]:
    """Training rows with more bytes than the model takes tokens, the longest first."""
    blank = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    overhead = template.count([blank])[0][0]
    size = table.column("bytes")[train].astype(np.int64)
    # The stored form adds more bytes a turn than most templates tokens; the overhead is for those
    # that put a system message of their own in front.
    found = train[size + overhead > template.max_length]
    order = np.argsort(-table.column("bytes")[found].astype(np.int64), kind="stable")
    return [int(number) for number in found[order]]


def _spread(values: Any) -> dict[str, Any]:
    """Quantiles and a histogram of at most 20 equal steps up to the 99th percentile."""
    if not len(values):
        return {"histogram": []}
    p50, p95, p99 = (int(v) for v in np.percentile(values, [50, 95, 99]))
    width = max(1, -(-max(p99, 1) // 20))
    binned = np.bincount(np.minimum(values // width, 20))
    histogram = [
        {
            "from": n * width,
            "to": (n + 1) * width - 1 if n < 20 else int(values.max()),
            "rows": int(c),
        }
        for n, c in enumerate(binned)
    ]
    return {"median": p50, "p95": p95, "p99": p99, "most": int(values.max()),
            "mean": round(float(values.mean()), 1), "histogram": histogram}  # fmt: skip


def words(table: Table) -> dict[str, Any]:
    """Lengths in words of prompts and answers of the training rows."""
    train = table.of("train")
    return {
        "unit": "words",
        "prompt": _spread(table.column("prompt_words")[train].astype(np.int64)),
        "answer": _spread(table.column("answer_words")[train].astype(np.int64)),
    }


def answers(table: Table) -> tuple[Hits, Hits]:
    """(very short, very long) answers: against the median of the training answers."""
    short, long = Hits("short_answers"), Hits("long_answers")
    train = table.of("train")
    length = table.column("answer_words")[train].astype(np.int64)
    if len(length) < 8:
        return short, long
    median = float(np.median(length))
    if median >= 15:
        for row in train[(length <= 3) & (length < median / 10)]:
            short.add(int(row))
    for row in train[(length > 10 * max(median, 1)) & (length >= 50)]:
        long.add(int(row), note=f"{table.answer_words[int(row)]} words")
    short.facts = long.facts = {"median words": median}
    return short, long
