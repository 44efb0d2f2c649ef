"""What the base says, kept between runs: to the suites, whatever the task; and all that a run
measured of it, for the next run on the same rows.

The key holds everything that decides an answer: weights, bits, the items and rows, how long an
answer may be, and what computes it (code, versions, device, threads: another order of sums rounds
otherwise).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.disk import read_json, read_jsonl, sha256, write_json
from appliance.errors import NoSpace, RunError
from appliance.evaluate.axes import Said, said_to
from appliance.evaluate.suite import Suite
from appliance.home import code, home, only_newest
from appliance.model import backend
from appliance.model.load import Loaded, resolve
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.sections.source import ModelSection

VERSION = 2  # of how items are asked; how the model computes is in the key as code
KEPT = 32  # baselines between runs, the newest: some hundred kB each
DAMAGED = "  what was kept of the base is damaged: it is asked again"
FULL = "  the cache cannot be written, so the base is asked anew next time"


def take(run: RunDir, recipe: Recipe) -> bool:
    """Fill in the baseline from a run that measured the same; False where none is kept."""
    kept = _measured(run, recipe)
    if kept is None or not kept.scores_before.is_file():
        return False
    try:
        for path in (kept.base_answers, kept.answers_before):
            read_jsonl(path)
        scores = read_json(kept.scores_before)
        run.take_answers(kept)
    except RunError:
        console.say(DAMAGED)
        return False
    write_json(run.scores_before, scores | {"from_cache": True})
    console.say("  measured before: the same base on the same rows")
    return True


def keep(run: RunDir, recipe: Recipe) -> None:
    """What the baseline stage wrote, for the next run that would measure the same."""
    kept = _measured(run, recipe)
    if kept is None:
        return
    try:
        kept.take_baseline(run)
    except (NoSpace, RunError):
        console.say(FULL)
    only_newest(kept.root.parent, KEPT)


def _measured(run: RunDir, recipe: Recipe) -> RunDir | None:
    """Where it is kept. None where it rests on what may change unseen: a folder, the hub."""
    section = recipe.evaluate
    own = [name for name in (section.off_task, *section.suites) if Path(name).is_file()]
    others = [*section.benchmarks, *([section.real_world] if section.real_world else [])]
    if not all(Path(name).is_file() for name in others):
        return None
    rows = [run.train_rows, run.valid_rows, run.test_rows]
    if recipe.evaluate.canaries:
        rows.append(run.canaries)
    facts = {
        "model": resolve(recipe.model).digest(),
        "recipe": [
            part.model_dump(mode="json") for part in (recipe.model, recipe.data, section)
        ],
        "steps": [recipe.method, recipe.train.seed, recipe.train.epochs, recipe.train.max_steps,
                  recipe.train.batch_size],
        "files": [sha256(Path(path)) for path in (*rows, *own, *others)],
        "by": _computed_by() | {"code": code()},
    }  # fmt: skip
    return RunDir(home() / "measured" / _hash(facts))


def said_by_base(
    loaded: Loaded, section: ModelSection, suites: Sequence[Suite]
) -> tuple[dict[str, list[Said]], bool]:
    """(what the base says by axis, was it kept from before?). `loaded` has no adapter on."""
    path = home() / "baseline" / f"{_key(loaded, section, suites)}.json"
    if path.is_file():
        try:
            kept: dict[str, list[Said]] = read_json(path)
            return kept, True
        except RunError:
            console.say(DAMAGED)
    said = said_to(loaded, suites)
    try:
        write_json(path, said)
    except (NoSpace, RunError):
        console.say(FULL)
    return said, False


def _key(loaded: Loaded, section: ModelSection, suites: Sequence[Suite]) -> str:
    asked = [
        (suite.axis, suite.room, [(i.id, i.prompt, i.choices) for i in suite.items])
        for suite in suites
    ]
    facts = {
        "version": VERSION,
        "model": loaded.ref.digest(),
        "bits": section.bits,
        "max_length": section.max_length,
        "suites": asked,
        # To a tuned model that is computed otherwise, what is rounded otherwise would look lost.
        "code": code("model"),
        **_computed_by(),
    }
    return _hash(facts)


def _computed_by() -> dict[str, Any]:
    return {"versions": backend.versions(), "device": backend.machine()}


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
