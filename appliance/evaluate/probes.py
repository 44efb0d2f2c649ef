"""The probes: task, off-task prompts, drift, preferences. One path, before and after.

Each takes a loaded model and gives scores (numbers with interval and n) and items (what was
asked and said, one line each), so that every number can be checked by eye.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import statistics
from appliance.console import console
from appliance.data.rows import Pair, Row
from appliance.errors import DataError
from appliance.evaluate.habit import Style, normal
from appliance.model.chat import Answer, encode, generate, prompt_ids
from appliance.model.likelihood import Likelihood, likelihoods
from appliance.model.load import Loaded
from appliance.recipe import Recipe

SHORT_WORDS = 8  # answers of at most so many words (95 of 100) are scored by exact match
ROUGE_ROWS = 48  # long answers are slow to write: as many are written, all are scored by loss
_WORDS = re.compile(r"\w+")
Scores = dict[str, Any]
Items = list[dict[str, Any]]


def task(loaded: Loaded, rows: Sequence[Row], recipe: Recipe) -> tuple[Scores, Items]:
    """Exact match where answers are short, else ROUGE-L; the loss on the answers always."""
    short = _short([row.answer for row in rows])
    asked = list(rows if short else rows[:ROUGE_ROWS])
    room = recipe.evaluate.task_tokens or _longest(loaded, rows)
    answers = _ask(loaded, [row.prompt for row in asked], room, "task")
    items = [_task_item(row, answer, short) for row, answer in zip(asked, answers, strict=True)]
    values = [item["score"] for item in items]
    scored = [v for v in values if v is not None]
    metric = "exact_match" if short else "rouge_l"
    score = statistics.share([v == 1 for v in scored]) if short else statistics.mean(scored)
    losses = _losses(loaded, [row.messages for row in rows], "task loss")
    return {
        "metric": metric,
        **score,
        "asked": len(items),
        "cut": sum(item["cut"] for item in items),
        "undecided": sum(item["score"] is None and not item["error"] for item in items),
        "errors": sum(bool(item["error"]) for item in items),
        "loss": _per_token(losses),
        "items": values,
    }, items


def _short(answers: Sequence[str]) -> bool:
    words = sorted(len(a.split()) for a in answers)
    return bool(words) and words[int(0.95 * (len(words) - 1))] <= SHORT_WORDS


def _longest(loaded: Loaded, rows: Sequence[Row]) -> int:
    longest = max(len(loaded.tokenizer.encode(row.answer)) for row in rows)
    return min(longest + 8, 256)


def _task_item(row: Row, answer: Answer | None, short: bool) -> dict[str, Any]:
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


def off_task_prompts(recipe: Recipe) -> list[dict[str, Any]]:
    """The off-task suite. Raises DataError naming the line of a wrong item."""
    given = recipe.evaluate.off_task
    path = (
        Path(__file__).parent / "suites" / "off_task.jsonl" if given == "builtin" else Path(given)
    )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"evaluate.off_task: {path} cannot be read.", "Name a JSONL file, or `builtin`."
        ) from error
    items = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except ValueError:
            item = None
        if not isinstance(item, dict) or not isinstance(item.get("prompt"), str):
            raise DataError(f"{path}, line {number} has no `prompt`.", 'Write {"prompt": "..."}.')
        items.append({"id": str(item.get("id", number)), "prompt": item["prompt"]})
    if not items:
        raise DataError(f"{path} is empty.", "Give at least one off-task prompt, or `builtin`.")
    return items


def off_task(loaded: Loaded, style: Style, recipe: Recipe) -> tuple[Scores, Items]:
    """Habit leak: the share of off-task prompts answered in the task's style."""
    prompts = off_task_prompts(recipe)
    asked = [[{"role": "user", "content": p["prompt"]}] for p in prompts]
    answers = _ask(loaded, asked, recipe.evaluate.answer_tokens, "off-task")
    items: Items = [
        {
            "probe": "off_task",
            "id": prompt["id"],
            "prompt": prompt["prompt"],
            "answer": answer.text if answer else "",
            "cut": bool(answer and answer.cut),
            "error": "" if answer else "the prompt is longer than model.max_length",
            "leak": style.leaks(answer.text) if answer and style.exists else None,
        }
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    leaks = [item["leak"] for item in items]
    return {
        "style": style.describe(),
        **statistics.share([leak for leak in leaks if leak is not None]),
        "asked": len(items),
        "cut": sum(item["cut"] for item in items),
        "errors": sum(bool(item["error"]) for item in items),
        "items": leaks,
    }, items


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
    found = _losses(loaded, dialogues, "drift", with_kl=tuned, cut=cut)
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
        "loss": _per_token(found),
        "tokens": sum(f.tokens for f in found),
        "items": items,
    }


def preference(
    loaded: Loaded, pairs: Sequence[Pair], recipe: Recipe, reference: Items | None
) -> tuple[Scores, Items]:
    """Rewards of held-out pairs (Rafailov et al. 2023, eq. 7): beta * log-ratio to the reference.

    `reference` are the items of the base. Measured on the base itself every margin is zero.
    """
    chosen = _losses(loaded, [[*p.prompt, *p.chosen] for p in pairs], "chosen", last_only=True)
    rejected = _losses(
        loaded, [[*p.prompt, *p.rejected] for p in pairs], "rejected", last_only=True
    )
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


def _ask(
    loaded: Loaded, prompts: Sequence[Sequence[Any]], room: int, what: str
) -> list[Answer | None]:
    """Answers in order; None for a prompt that does not fit the model's length."""
    lengths = [len(prompt_ids(loaded.tokenizer, p)) for p in prompts]
    fits = [i for i, n in enumerate(lengths) if n <= loaded.max_length]
    answers: list[Answer | None] = [None] * len(prompts)
    with console.progress(what, len(fits)) as bar:
        found = generate(loaded, [prompts[i] for i in fits], room, done=bar.advance)
    for index, answer in zip(fits, found, strict=True):
        answers[index] = answer
    return answers


def _losses(
    loaded: Loaded,
    dialogues: Sequence[Sequence[Any]],
    what: str,
    *,
    with_kl: bool = False,
    last_only: bool = False,
    cut: Sequence[bool] = (),
) -> list[Likelihood]:
    rows = [encode(loaded.tokenizer, d, loaded.max_length, last_only=last_only) for d in dialogues]
    # An answer that was cut had no end of turn: there is none to predict.
    rows = [
        replace(row, input_ids=row.input_ids[:-1], labels=row.labels[:-1]) if was_cut else row
        for row, was_cut in zip(rows, cut or [False] * len(rows), strict=True)
    ]
    loaded.model.eval()
    with console.progress(what, len(rows)) as bar:
        return likelihoods(loaded, rows, with_kl=with_kl, done=bar.advance)


def _per_token(found: Sequence[Likelihood]) -> float | None:
    tokens = sum(f.tokens for f in found)
    return sum(f.loss for f in found) / tokens if tokens else None
