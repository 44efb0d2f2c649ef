"""Too few rows, or rows too much alike, for what the recipe does with them."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from appliance.data.audit.findings import Hits
from appliance.data.audit.index import Texts
from appliance.data.audit.text import words

SAMPLE = 1000
# English prose of this size is packed to about 0.4 of its bytes, rows of one mould to under 0.2.
PACKED, NEW, SAME_ANSWER = 0.2, 0.2, 0.5
ROWS, STEPS = 100, 30


@dataclass(frozen=True)
class Plan:
    """What the recipe does with the rows."""

    epochs: float = 3.0
    batch: int = 16


def measure(texts: Texts, seed: int) -> dict[str, Any]:
    """How much the training rows repeat themselves, from a sample in random order."""
    table = texts.table
    rows = table.of("train").tolist()
    random.Random(seed).shuffle(rows)
    prompts, answers = [], []
    for row in rows[:SAMPLE]:
        prompts.append(" ".join(texts.prompt(row)))
        answers.append(texts.answer(row))
    top = Counter(answers).most_common(1)
    return {
        "sample": len(prompts),
        "prompts_packed": _packed(prompts),
        "answers_packed": _packed(answers),
        "prompts_new_trigrams": _new(prompts),
        "answers_new_trigrams": _new(answers),
        "different_answers": len(set(answers)),
        "commonest_answer_share": top[0][1] / len(answers) if top else 0.0,
    }


def _packed(found: list[str]) -> float:
    """Packed size over size, of 200 kB at most: zlib sees 32 kB back, so more says no more."""
    data = "\n".join(found).encode("utf-8", "surrogatepass")[:200_000]
    return round(len(zlib.compress(data, 9)) / max(len(data), 1), 3)


def _new(found: list[str]) -> float:
    """Share of the runs of three words that stand only once among them."""
    seen: Counter[tuple[str, ...]] = Counter()
    for item in found:
        own = words(item)
        seen.update(zip(own, own[1:], own[2:], strict=False))
    return round(len(seen) / max(sum(seen.values()), 1), 3)


def judge(found: dict[str, Any], rows: int, plan: Plan) -> list[Hits]:
    """The findings, with what they say about this recipe."""
    small, alike = Hits("too_small"), Hits("homogeneous")
    steps = -(-rows // plan.batch) * plan.epochs
    if rows < ROWS or steps < STEPS:
        small.facts = {
            "rows": rows,
            "optimizer steps": round(steps),
            "said": f"{rows} rows make {steps:.0f} steps in {plan.epochs:g} epochs",
        }
    why = []
    if found["sample"] >= 20:
        if found["prompts_packed"] < PACKED:
            why.append(f"the prompts pack to {found['prompts_packed']:.0%} of their size")
        if found["prompts_new_trigrams"] < NEW:
            why.append(f"{found['prompts_new_trigrams']:.0%} of their word triples are new")
        if found["commonest_answer_share"] > SAME_ANSWER:
            why.append(f"one answer has {found['commonest_answer_share']:.0%} of the rows")
    if why:
        alike.facts = {"said": "; ".join(why)}
    return [hits for hits in (small, alike) if hits.facts]
