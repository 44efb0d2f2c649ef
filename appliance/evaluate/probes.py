"""The probes: task, drift, preferences; the axes are in axes.py. One path, before and after.

Each takes a loaded model and gives scores (numbers with interval and n) and items (what was
asked and said, one line each), so that every number can be checked by eye.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from appliance import statistics
from appliance.data.rows import Pair, Row
from appliance.evaluate.asking import ask, losses, per_token
from appliance.evaluate.habit import Style, normal
from appliance.model.chat import Answer
from appliance.model.load import Loaded
from appliance.recipe import Recipe

SHORT_WORDS = 8  # answers of at most so many words (95 of 100) are scored by exact match
ROUGE_ROWS = 48  # long answers are slow to write: as many are written, all are scored by loss
_WORDS = re.compile(r"\w+")
Scores = dict[str, Any]
Items = list[dict[str, Any]]


def task(loaded: Loaded, rows: Sequence[Row], recipe: Recipe) -> tuple[Scores, Items]:
    """Exact match where answers are short, else ROUGE-L; the loss on the answers always."""
    if not rows:
        return {"metric": "exact_match", **statistics.share([]), "asked": 0, "cut": 0,
                "undecided": 0, "errors": 0, "loss": None, "items": []}, []  # fmt: skip
    short = short_answers(rows)
    asked = list(rows if short else rows[:ROUGE_ROWS])
    room = task_room(loaded, rows, recipe)
    items = ask_task(loaded, asked, [row.prompt for row in asked], room, short, "task")
    found = losses(loaded, [row.messages for row in rows], "task loss")
    return {**task_scores(items, short), "loss": per_token(found)}, items


def short_answers(rows: Sequence[Row]) -> bool:
    """Are the answers so short that they are scored by exact match?"""
    words = sorted(len(row.answer.split()) for row in rows)
    return bool(words) and words[int(0.95 * (len(words) - 1))] <= SHORT_WORDS


def task_room(loaded: Loaded, rows: Sequence[Row], recipe: Recipe) -> int:
    """Tokens of an answer to a row of the task, at most."""
    if recipe.evaluate.task_tokens:
        return recipe.evaluate.task_tokens
    longest = max(len(loaded.tokenizer.encode(row.answer)) for row in rows)
    return min(longest + 8, 256)


def ask_task(
    loaded: Loaded,
    rows: Sequence[Row],
    prompts: Sequence[Sequence[Any]],
    room: int,
    short: bool,
    what: str,
) -> Items:
    """The rows asked as `prompts` put them, and each answer's score against the row's own."""
    answers = ask(loaded, prompts, room, what)
    return [task_item(row, answer, short) for row, answer in zip(rows, answers, strict=True)]


def task_scores(items: Items, short: bool) -> Scores:
    """Metric, value with interval and n, and how many of the items were not scored, and why."""
    values = [item["score"] for item in items]
    return {
        "metric": "exact_match" if short else "rouge_l",
        **task_value(values, short),
        "asked": len(items),
        "cut": sum(item["cut"] for item in items),
        "undecided": sum(item["score"] is None and not item["error"] for item in items),
        "errors": sum(bool(item["error"]) for item in items),
        "items": values,
    }


def task_value(values: Sequence[float | None], short: bool) -> Scores:
    """Share or mean of those that were scored, with its interval and n."""
    scored = [v for v in values if v is not None]
    return statistics.share([v == 1 for v in scored]) if short else statistics.mean(scored)


def task_item(row: Row, answer: Answer | None, short: bool) -> dict[str, Any]:
    said = "" if answer is None else answer.text
    score: float | None
    if answer is None:
        score = None
    elif short:
        score = exact_match(row.answer, said, answer.cut)
    else:
        score = None if answer.cut else rouge_l(row.answer, said)
    return {
        "probe": "task",
        "prompt": row.prompt[-1]["content"],
        "expected": row.answer,
        "answer": said,
        "score": score,
        "cut": bool(answer and answer.cut),
        "error": "" if answer else "the prompt is longer than model.max_length",
    }


def exact_match(expected: str, said: str, cut: bool) -> float | None:
    """1 or 0; None where the answer was cut while it still agreed (it is undecided, not wrong)."""
    expected, said = normal(expected), normal(said)
    if cut and expected != said and expected.startswith(said):
        return None
    return float(expected == said)


def rouge_l(expected: str, said: str) -> float:
    """ROUGE-L F1 (Lin 2004) over lower-case words; the common subsequence is rapidfuzz's."""
    from rapidfuzz.distance import LCSseq

    want, got = _WORDS.findall(expected.lower()), _WORDS.findall(said.lower())
    if not want or not got:
        return float(want == got)
    return 2 * LCSseq.similarity(want, got) / (len(want) + len(got))


def habit_leak(off_task: Items, style: Style) -> Scores:
    """The share of the off-task items that were answered in the task's style, or a machine's."""
    leaks = [item.get("leak") for item in off_task]
    return {
        "style": style.describe(),
        **statistics.share([leak for leak in leaks if leak is not None]),
        "asked": len(off_task),
        "cut": sum(item["cut"] for item in off_task),
        "errors": sum(bool(item["error"]) for item in off_task),
        "items": leaks,
    }


def drift(loaded: Loaded, base_answers: Items, *, tuned: bool) -> Scores:
    """Loss and KL(base || tuned) per token on the base's own answers to off-task prompts.

    The base against itself has a KL of zero by definition, so it is computed for a tuned one only.
    """
    said = [a for a in base_answers if a["answer"]]
    dialogues = [
        [{"role": "user", "content": a["prompt"]}, {"role": "assistant", "content": a["answer"]}]
        for a in said
    ]
    cut = [bool(a["cut"]) for a in said]
    found = losses(loaded, dialogues, "drift", with_kl=tuned, cut=cut)
    items = [
        {
            "id": a["id"],
            "kl": (f.kl or 0.0) / f.tokens,
            "loss": f.loss / f.tokens,
            "tokens": f.tokens,
        }
        for a, f in zip(said, found, strict=True)
        if f.tokens
    ]
    return {
        **statistics.mean([item["kl"] for item in items]),
        "unit": "nats per token, mean over dialogues",
        "loss": per_token(found),
        "tokens": sum(f.tokens for f in found),
        "items": items,
    }


def preference(
    loaded: Loaded, pairs: Sequence[Pair], recipe: Recipe, reference: Items | None
) -> tuple[Scores, Items]:
    """Rewards of held-out pairs (Rafailov et al. 2023, eq. 7): beta * log-ratio to the reference.

    `reference` are the items of the base. Measured on the base itself every margin is zero.
    """
    chosen = losses(loaded, [[*p.prompt, *p.chosen] for p in pairs], "chosen", last_only=True)
    rejected = losses(loaded, [[*p.prompt, *p.rejected] for p in pairs], "rejected", last_only=True)
    items: Items = [
        {
            "probe": "preference",
            "prompt": pair.prompt[-1]["content"] if pair.prompt else "",
            "chosen_logp": -c.loss,
            "rejected_logp": -r.loss,
        }
        for pair, c, r in zip(pairs, chosen, rejected, strict=True)
    ]
    margins = [
        recipe.dpo.beta
        * (
            (mine["chosen_logp"] - base["chosen_logp"])
            - (mine["rejected_logp"] - base["rejected_logp"])
        )
        for mine, base in zip(items, reference or items, strict=True)
    ]
    # A margin of zero prefers neither: half a hit, so the base stands at one half.
    hits = [1.0 if m > 0 else 0.5 if m == 0 else 0.0 for m in margins]
    likelier = [item["chosen_logp"] > item["rejected_logp"] for item in items]
    return {
        "metric": "reward_accuracy",
        **statistics.mean(hits),
        "reward_margin": statistics.mean(margins),
        "chosen_likelier": statistics.share(likelier),
        "chosen_logp": statistics.mean([i["chosen_logp"] for i in items]),
        "rejected_logp": statistics.mean([i["rejected_logp"] for i in items]),
        "asked": len(items),
        "cut": 0,
        "errors": 0,
        "items": hits,
    }, items
