"""The base writes general dialogues: the user's turn sampled, its own answer greedy.

Left alone, a small model writes the same few kinds of question, so the user's turn is begun for
it (`train/openers.py`). Answers are cut short: whether a prompt is answered as the task is decided
at the first tokens, and for the same time more prompts are covered.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any

from appliance.console import console
from appliance.disk import read_jsonl, write_jsonl
from appliance.errors import DataError, NoSpace, RunError
from appliance.home import home
from appliance.model.chat import complete, generate, loops, open_user_turn
from appliance.model.decode import Sampling
from appliance.model.load import Loaded, open_model, release, resolve
from appliance.recipe import Recipe
from appliance.train.openers import OPEN, SMALL, TALK, WRONG, openings

_WORDS = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?s)^.*[.?!:](?=\s|$)")
PROMPT_TOKENS, ANSWER_TOKENS = 32, 24
NEAR, CAREFUL = 3, 6  # of so many dialogues one begins as a row of the task does; is WRONG
VERSION = 6  # of how dialogues are written: raised when it changes, so that no old cache is used


@dataclass(frozen=True)
class Dialogue:
    """One prompt and answer by the base. `cut`: the answer ran into the limit, it has no end."""

    prompt: str
    answer: str
    cut: bool


def own(recipe: Recipe, task: Sequence[str]) -> tuple[list[Dialogue], dict[str, Any]]:
    """What the base writes beside a task of such prompts, once for each model and settings: kept
    in the cache.

    Raises DataError when it writes too few whole ones.
    """
    ref = resolve(recipe.model)
    begun = openings(task, recipe.train.seed)
    settings = [VERSION, PROMPT_TOKENS, ANSWER_TOKENS, NEAR, CAREFUL, recipe.model.bits,
                recipe.rehearsal.dialogues, recipe.train.seed, begun]  # fmt: skip
    key = hashlib.sha256(f"{ref.digest()} {settings}".encode()).hexdigest()[:24]
    path = home() / "rehearsal" / f"{key}.jsonl"
    if path.is_file():
        return [Dialogue(**d) for d in read_jsonl(path)], {"from": "cache", "key": key}
    loaded = open_model(recipe.model)
    found, facts = write(loaded, recipe.rehearsal.dialogues, recipe.train.seed, begun)
    release(loaded)
    if len(found) < recipe.rehearsal.dialogues // 2:
        raise DataError(
            f"The base wrote only {len(found)} whole dialogues of {recipe.rehearsal.dialogues}.",
            "Give general rows in rehearsal.sources, or set rehearsal.self=false.",
        )
    try:
        write_jsonl(path, [asdict(d) for d in found])
    except (NoSpace, RunError):
        console.say("  the cache cannot be written, so they are written anew next time")
    return found, {"from": "the base itself", "key": key, **facts}


def write(
    loaded: Loaded, count: int, seed: int, near: Sequence[str] = ()
) -> tuple[list[Dialogue], dict[str, Any]]:
    """`count` dialogues, and what was left out and why. `near`: how prompts of the task begin."""
    kept: list[Dialogue] = []
    left_out = {"broken": 0, "twice": 0}
    seen: set[str] = set()
    turn = 0
    while len(kept) < count and turn < 6:
        wanted = round((count - len(kept)) * 1.15) + 4
        for dialogue in _draw(loaded, begin(wanted, seed + turn, near), seed + turn):
            reason = _fault(dialogue, seen)
            if reason:
                left_out[reason] += 1
            elif len(kept) < count:
                kept.append(dialogue)
                seen.add(dialogue.prompt.lower())
        turn += 1
    return kept, {"written": len(kept), "left_out": left_out}


def begin(count: int, seed: int, near: Sequence[str]) -> list[str]:
    """`count` openers in an order drawn by `seed`; one in NEAR of them from `near`, one in CAREFUL
    of what is wrong to ask."""
    draw = random.Random(seed)

    def endless(openers: Sequence[str]) -> Iterator[str]:
        return cycle(draw.sample(openers, len(openers)))

    rest = endless([*OPEN, *TALK, *SMALL])
    wrong = endless(WRONG)
    closest = endless(near) if near else rest
    return [
        next(closest if i % NEAR == 0 else wrong if i % CAREFUL == 1 else rest)
        for i in range(count)
    ]


def _draw(loaded: Loaded, begun: Sequence[str], seed: int) -> list[Dialogue]:
    tokenizer = loaded.tokenizer
    head = open_user_turn(tokenizer)
    ids = [tokenizer.encode(head + opener, add_special_tokens=False) for opener in begun]
    with console.progress("rehearsal, questions", len(ids)) as bar:
        said = complete(loaded, ids, PROMPT_TOKENS, sampling=Sampling(0.9, 50, seed),
                        rows_at_once=64, done=bar.advance)  # fmt: skip
    prompts = [
        whole_prompt(f"{opener} {answer.text}", answer.cut)
        for opener, answer in zip(begun, said, strict=True)
    ]
    asked = [[{"role": "user", "content": p}] for p in prompts if p]
    with console.progress("rehearsal, answers", len(asked)) as bar:
        answers = generate(loaded, asked, ANSWER_TOKENS, rows_at_once=64, done=bar.advance)
    return [
        Dialogue(messages[0]["content"], answer.text, answer.cut)
        for messages, answer in zip(asked, answers, strict=True)
    ]


def whole_prompt(text: str, cut: bool) -> str:
    """The prompt; of one that ran into the limit its whole sentences, or nothing."""
    text = text.strip()
    if cut:
        found = _SENTENCE.match(text)
        text = found.group() if found else ""
    return text if "\n" in text else " ".join(text.split())


def _fault(dialogue: Dialogue, seen: set[str]) -> str:
    words = _WORDS.findall(dialogue.prompt.lower())
    answer = _WORDS.findall(dialogue.answer.lower())
    if len(words) < 3 or not answer or loops(dialogue.answer):
        return "broken"
    if dialogue.prompt.lower() in seen:
        return "twice"
    return ""
