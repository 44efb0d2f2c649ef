"""What each stage of a run has a model do: tokens read, answers written, tokens trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from appliance.evaluate import advise, memorization
from appliance.evaluate.suite import Suite
from appliance.plan.rows import Rows
from appliance.recipe import Recipe
from appliance.train import dialogues
from appliance.train.measures import FORWARD, SHARE_DRIFT, SHARE_HELD_OUT

# Of the tokens that an answer may have, how many are written before its end of turn: the base on
# the shipped suites (SmolLM2-135M; others are not measured).
WRITTEN = 0.75
GENERAL = 48  # tokens of a general row that the base writes, its template's opening apart


@dataclass(frozen=True)
class Asked:
    """Answers that are written together: how many, tokens of a prompt, room of an answer."""

    answers: int
    prompt: float
    room: int
    written: float = WRITTEN  # of the room


@dataclass(frozen=True)
class Work:
    """Of a stage. `read`: tokens of given texts, forward; `scored`: how many of them go through the
    output layer. `adapted`: with an adapter on. `trained`: tokens with gradients, in `passes`;
    `compared`: tokens that the base reads beside them in every step. `loads`: models loaded."""

    loads: int = 0
    read: float = 0.0
    scored: float = 0.0
    asked: tuple[Asked, ...] = ()
    adapted: bool = False
    trained: float = 0.0
    bearing: float = 0.0
    passes: int = 0
    compared: float = 0.0
    around: float = field(default=1.0, compare=False)  # time beside it, as a factor


def of(
    recipe: Recipe, rows: Rows, suites: Sequence[Suite], *, micro: int, packed: bool, gpu: bool
) -> dict[str, Work]:
    """By stage: baseline, rehearse, train, evaluate, dial (where the gate fails), export.

    `micro`: rows at once. `packed`: is what rows begin with computed once?
    """
    shared = rows.shared if packed else 0
    before = _measured(recipe, rows, suites, shared, gpu, tuned=False)
    after = _measured(recipe, rows, suites, shared, gpu, tuned=True)
    return {
        "baseline": before,
        "rehearse": _rehearse(recipe),
        "train": _train(recipe, rows, micro, shared),
        "evaluate": after,
        "dial": _dial(recipe, after),
        "export": Work(),
    }


def _measured(
    recipe: Recipe, rows: Rows, suites: Sequence[Suite], shared: int, gpu: bool, *, tuned: bool
) -> Work:
    """What `evaluate/measure.py` asks."""
    asked: list[Asked] = []
    read = scored = 0.0
    for suite in suites:
        items = suite.items
        spoken = [item for item in items if item.kind != "choice"]
        if spoken:
            prompt = sum(rows.tokens_of(item.prompt) for item in spoken) / len(spoken)
            asked.append(Asked(len(spoken), prompt - shared, suite.room))
        for item in items:
            for choice in item.choices:
                answer = len(choice.encode()) / rows.bytes_a_token + 1
                read += rows.tokens_of(item.prompt) - shared + answer
                scored += answer
    off_task = suites[0].items
    told = suites[0].room * WRITTEN  # drift: on the base's own answers
    drift = sum(rows.tokens_of(item.prompt) - shared + told for item in off_task)
    read += drift * (2 if tuned else 1)
    scored += told * len(off_task) * (2 if tuned else 1)
    sides = 2 if recipe.method == "dpo" else 1
    gap = 2 * min(memorization.SAMPLE, rows.test)
    read += (rows.test + gap / sides) * (rows.tokens - shared * sides)
    scored += (rows.test + gap / sides) * rows.answer * sides
    if recipe.method == "sft":
        room = recipe.evaluate.task_tokens or min(rows.longest_answer + 8, 256)
        prompt = max(0.0, rows.tokens - rows.answer - shared)
        short = rows.longest_answer <= 24
        answers = rows.test if short else min(rows.test, 48)
        asked.append(Asked(answers, prompt, room, rows.answer / room if tuned else 1.0))
        if recipe.evaluate.alternatives and not tuned:
            asked += _alternatives(rows, prompt, room, gpu)
    if not rows.labels and rows.answer > memorization.RUN * 2:
        recited = min(memorization.ROOM, rows.longest_answer)
        asked.append(Asked(gap, rows.tokens - rows.answer / 2 - shared, recited, 1.0))
    return Work(loads=1, read=read, scored=scored, asked=tuple(asked), adapted=tuned)


def _alternatives(rows: Rows, prompt: float, room: int, gpu: bool) -> list[Asked]:
    """Labels, few-shot and retrieval (`evaluate/advise.py`)."""
    shots = advise.SHOTS if gpu else advise.SHOTS_ON_CPU
    longer = [prompt + shots * (rows.tokens - rows.shared)] * 2
    prompts = [*longer, prompt + 12 * rows.answer] if rows.labels else longer
    answers = min(rows.test, advise.ROWS_IN_A_RUN)
    if not gpu:
        each = sum(p + advise.WRITTEN * room for p in prompts)
        answers = min(answers, int(advise.TOKENS_ON_CPU / each))
    return [Asked(answers, p, room, 1.0) for p in prompts if answers]


def _rehearse(recipe: Recipe) -> Work:
    """The dialogues that the base writes: a question, then its answer."""
    section = recipe.rehearsal
    own = section.self or (section.self is None and not section.sources)
    if not (recipe.rehearses and own):
        return Work()
    drawn = round(section.dialogues * 1.15) + 4
    return Work(
        loads=1,
        asked=(
            Asked(drawn, 6, dialogues.PROMPT_TOKENS, 0.8),
            Asked(section.dialogues, dialogues.PROMPT_TOKENS, dialogues.ANSWER_TOKENS, 0.8),
        ),
    )


def rehearsed_rows(recipe: Recipe) -> float:
    """General rows beside the task's of a step."""
    beside = recipe.rehearses and (recipe.rehearsal.loss or recipe.anchor.kl)
    share = recipe.general_share
    return recipe.train.batch_size * share / (1 - share) if beside else 0.0


def steps_of(recipe: Recipe, rows: Rows, micro: int, shared: int, steps: int) -> Work:
    """The steps alone."""
    batch = recipe.train.batch_size
    sides = 2 if recipe.method == "dpo" else 1
    passes = steps * ceil(batch / micro)
    general = rehearsed_rows(recipe)
    # What rows begin with is computed once for a pass, and so is the prompt of a pair.
    begun = shared * (steps * (batch + general) - passes)
    if shared and sides == 2:
        begun += steps * batch * max(0.0, rows.tokens / 2 - rows.answer)
    beside = steps * general * (GENERAL + rows.shared)
    trained = steps * batch * rows.tokens + beside - begun
    bearing = steps * (batch * rows.answer * sides + general * dialogues.ANSWER_TOKENS)
    return Work(
        trained=trained, bearing=bearing, passes=passes * (2 if general and not shared else 1),
        compared=steps * batch * rows.tokens if recipe.method == "dpo" else 0.0,
    )  # fmt: skip


def _train(recipe: Recipe, rows: Rows, micro: int, shared: int) -> Work:
    steps, batch = recipe.steps(rows.train), recipe.train.batch_size
    general = rehearsed_rows(recipe)
    asked_once = min(recipe.rehearsal.dialogues, steps * general)
    read = asked_once * (GENERAL + rows.shared - shared)
    held = min(rows.valid, 128) * recipe.train.evaluations
    limit = SHARE_HELD_OUT / FORWARD * steps * batch
    read += min(held, limit) * (rows.tokens - shared)
    return replace(
        steps_of(recipe, rows, micro, shared, steps),
        loads=1, read=read, scored=asked_once * dialogues.ANSWER_TOKENS, around=1 + SHARE_DRIFT,
    )  # fmt: skip


def _dial(recipe: Recipe, after: Work) -> Work:
    """At most: every strength on the task and an axis, a third of it all; then one asked whole."""
    if recipe.policy.dial == "never":
        return Work()
    return replace(
        after,
        read=after.read * 3,
        scored=after.scored * 3,
        asked=tuple(replace(a, answers=a.answers * 3) for a in after.asked),
    )
