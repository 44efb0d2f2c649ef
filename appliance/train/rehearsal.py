"""Self-rehearsal (SA-SFT, "Talking to Yourself", arXiv 2602.20162).

Before training the base writes both sides of general dialogues. They are mixed in with the task's
rows, so that the tuned model keeps answering as the base does where the task does not belong.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from appliance.console import console
from appliance.data.prepare import prepare
from appliance.data.rows import Row, read_pairs, read_rows
from appliance.errors import DataError, NoSpace, RunError
from appliance.home import home
from appliance.model.chat import Encoded, Sampling, complete, encode, generate, open_user_turn
from appliance.model.load import Loaded, open_model, release, resolve
from appliance.recipe import Recipe
from appliance.run import RunDir, read_jsonl, write_json, write_jsonl
from appliance.sections import DataSection
from appliance.train.openers import OPEN, SMALL

_WORDS = re.compile(r"\w+")
# Short answers, many dialogues: whether a prompt is answered as the task is decided at the first
# tokens, and for the same time four times as many prompts are covered.
PROMPT_TOKENS, ANSWER_TOKENS = 32, 16
LIKE_TASK = 0.5  # share of words in common with a task's prompt, from which a dialogue is left out
VERSION = 2  # of how dialogues are written: raised when it changes, so that no old cache is used


@dataclass(frozen=True)
class Dialogue:
    """One prompt and answer by the base. `cut`: the answer ran into the limit, it has no end."""

    prompt: str
    answer: str
    cut: bool


def rehearse(run: RunDir, recipe: Recipe) -> None:
    """Write data/rehearsal.jsonl and data/rehearsal.json (its facts)."""
    section = recipe.rehearsal
    if not recipe.rehearses:
        write_jsonl(run.rehearsal_rows, [])
        write_json(run.rehearsal_facts, {"rows": 0, "from": "none"})
        return
    if section.sources:
        found, facts = given(recipe), {"from": list(section.sources)}
    else:
        found, facts = own(recipe)
    kept = unlike_the_task(found, task_prompts(run, recipe))
    if not kept:
        raise DataError(
            "Every rehearsal dialogue is near the task's rows, so none is general.",
            "Give other files in rehearsal.sources, or set rehearsal.self=false.",
        )
    write_jsonl(run.rehearsal_rows, [asdict(d) for d in kept])
    write_json(
        run.rehearsal_facts,
        facts | {"rows": len(kept), "left_out_as_near_the_task": len(found) - len(kept)},
    )
    console.say(f"  {len(kept)} general dialogues to rehearse")


def given(recipe: Recipe) -> list[Dialogue]:
    """The rows of rehearsal.sources: single questions with their answers."""
    found = []
    for source in recipe.rehearsal.sources:
        data = DataSection(train=source, limit=recipe.rehearsal.dialogues, valid_share=0)
        prepared = prepare(
            data, preference=False, seed=recipe.train.seed, say=lambda t: console.say(f"  {t}")
        )
        for row in [*prepared.train, *prepared.test]:
            assert isinstance(row, Row)
            found.append(Dialogue(row.prompt[-1]["content"], row.answer, cut=False))
    return found


def own(recipe: Recipe) -> tuple[list[Dialogue], dict[str, Any]]:
    """What the base writes, once for each model and settings: kept in the cache."""
    ref = resolve(recipe.model)
    settings = f"{VERSION} {recipe.model.bits} {recipe.rehearsal.dialogues} {recipe.train.seed}"
    key = hashlib.sha256(f"{ref.digest()} {settings}".encode()).hexdigest()[:24]
    path = home() / "rehearsal" / f"{key}.jsonl"
    if path.is_file():
        return [Dialogue(**d) for d in read_jsonl(path)], {"from": "cache", "key": key}
    loaded = open_model(recipe.model)
    found, facts = write(loaded, recipe.rehearsal.dialogues, recipe.train.seed)
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


def task_prompts(run: RunDir, recipe: Recipe) -> list[str]:
    if recipe.method == "sft":
        return [row.prompt[-1]["content"] for row in read_rows(run.train_rows)]
    return [pair.prompt[-1]["content"] for pair in read_pairs(run.train_rows)]


def unlike_the_task(found: Sequence[Dialogue], prompts: Sequence[str]) -> list[Dialogue]:
    """Those that share less than LIKE_TASK of their words with every task's prompt."""
    task = [set(_WORDS.findall(p.lower())) for p in prompts]

    def near(dialogue: Dialogue) -> bool:
        mine = set(_WORDS.findall(dialogue.prompt.lower()))
        return any(len(mine & t) >= LIKE_TASK * len(mine | t) for t in task)

    return [d for d in found if not near(d)]


def rows(run: RunDir, loaded: Loaded) -> list[Encoded]:
    """data/rehearsal.jsonl as tokens; an answer that was cut has no end of turn to learn."""
    out = []
    for item in read_jsonl(run.rehearsal_rows):
        messages = [
            {"role": "user", "content": item["prompt"]},
            {"role": "assistant", "content": item["answer"]},
        ]
        row = encode(loaded.tokenizer, messages, loaded.max_length)
        if item["cut"] and not row.cut:
            row = replace(row, input_ids=row.input_ids[:-1], labels=row.labels[:-1])
        if row.bearing:
            out.append(row)
    return out


def write(loaded: Loaded, count: int, seed: int) -> tuple[list[Dialogue], dict[str, Any]]:
    """`count` dialogues, and what was left out and why."""
    kept: list[Dialogue] = []
    left_out = {"broken": 0, "twice": 0}
    seen: set[str] = set()
    turn = 0
    while len(kept) < count and turn < 6:
        wanted = round((count - len(kept)) * 1.25) + 4
        for dialogue in _draw(loaded, wanted, seed + turn):
            reason = _fault(dialogue, seen)
            if reason:
                left_out[reason] += 1
            elif len(kept) < count:
                kept.append(dialogue)
                seen.add(dialogue.prompt.lower())
        turn += 1
    return kept, {"written": len(kept), "left_out": left_out}


def _draw(loaded: Loaded, count: int, seed: int) -> list[Dialogue]:
    tokenizer = loaded.tokenizer
    rng = random.Random(seed)
    openers = [*OPEN, *SMALL]
    rng.shuffle(openers)
    begun = [openers[i % len(openers)] for i in range(count)]
    head = open_user_turn(tokenizer)
    ids = [tokenizer.encode(head + opener, add_special_tokens=False) for opener in begun]
    with console.progress("rehearsal, questions", count) as bar:
        said = complete(loaded, ids, PROMPT_TOKENS, sampling=Sampling(0.9, 0.95, seed),
                        rows_at_once=64, done=bar.advance)  # fmt: skip
    prompts = [f"{o} {a.text}".strip() for o, a in zip(begun, said, strict=True) if not a.cut]
    prompts = [" ".join(p.split()) if "\n" not in p else p.strip() for p in prompts]
    asked = [[{"role": "user", "content": p}] for p in prompts]
    with console.progress("rehearsal, answers", len(asked)) as bar:
        answers = generate(loaded, asked, ANSWER_TOKENS, rows_at_once=64, done=bar.advance)
    return [
        Dialogue(prompt, answer.text, answer.cut)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def _fault(dialogue: Dialogue, seen: set[str]) -> str:
    words = _WORDS.findall(dialogue.prompt.lower())
    answer = _WORDS.findall(dialogue.answer.lower())
    if len(words) < 3 or not answer or _loops(answer):
        return "broken"
    if dialogue.prompt.lower() in seen:
        return "twice"
    return ""


def _loops(words: list[str]) -> bool:
    """Does it say the same four words over and over?"""
    fours = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(fours) >= 8 and len(set(fours)) < 0.6 * len(fours)
