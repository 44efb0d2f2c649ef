"""Three real steps of a recipe's training on this machine: `appliance plan --calibrate`.

A training as `train` does it, in a folder that is thrown away: of some of the recipe's rows, after
a step to warm up, beside general rows of the length that the base writes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

from appliance.data.rows import Example, Message, Row, write_jsonl
from appliance.disk import read_log, write_json
from appliance.disk import write_jsonl as write_lines
from appliance.memory import GIB
from appliance.plan import Plan, calibration, reckon, rows, work
from appliance.plan.calibration import Measured
from appliance.plan.time import spent
from appliance.recipe import Recipe, build
from appliance.run import RunDir
from appliance.sizing import memory
from appliance.train.measures import peak_memory
from appliance.train.skeleton import train

STEPS = 3
# As long as the answers that the base writes to rehearse.
TOLD = "Light comes first: put them near a window, water them less, and keep them off the sill."
CONTEXT = 0.5 * GIB  # of a GPU: what torch does not count, its context


def calibrate(recipe: Recipe) -> Measured:
    """Train STEPS + 1 steps, keep what they took, and return it. Raises what training raises."""
    plan = reckon(recipe, corrected=False)
    drawn = rows.read(recipe, lambda text: None).drawn
    examples = list(islice(cycle(drawn), (STEPS + 1) * recipe.train.batch_size))
    with tempfile.TemporaryDirectory(prefix="appliance-plan-") as made:
        run = RunDir(Path(made) / "run")
        few = _recipe(recipe)
        _prepare(run, few, examples)
        train(run, few)
        ends = [record["seconds"] for record in read_log(run.metrics) if "loss" in record]
    return _compared(plan, examples, ends[-1] - ends[0])


def _compared(plan: Plan, examples: Sequence[Example], seconds: float) -> Measured:
    """Those steps against the same ones reckoned. The longest rows come first, to warm up."""
    recipe, batch = plan.recipe, plan.recipe.train.batch_size
    ordered = sorted(examples, key=rows.size)
    timed, whole = (
        rows.measure(recipe, rows.Some(some, some[-1:], batch, 0, 0), plan.folder)
        for some in (ordered[:-batch], ordered)
    )
    micro, shared = plan.setting.rows, plan.setting.shared
    its = work.steps_of(recipe, timed, micro, shared, STEPS)
    reckoned = memory.total(memory.step(plan.shape, replace(plan.setting, length=whole.longest)))
    taken = peak_memory() * GIB + (CONTEXT if plan.machine.card else 0)
    found = Measured(
        time=seconds / spent(its, plan.shape, recipe, plan.machine),
        memory=taken / reckoned,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    calibration.keep(found, plan.shape, recipe, plan.machine)
    return found


def _recipe(recipe: Recipe) -> Recipe:
    """As it is, but for its end, and for what is measured on the way."""
    tree = recipe.model_dump(mode="json")
    tree["train"] |= {"max_steps": STEPS + 1, "epochs": 1, "evaluations": 1}
    tree["wandb"] |= {"mode": "off"}
    tree["ewc"] |= {"strength": 0}
    return build(tree, "--calibrate")


def _prepare(run: RunDir, recipe: Recipe, examples: Sequence[Example]) -> None:
    """What the stages before training leave."""
    from appliance.evaluate.suite import load
    from appliance.train.rehearsal import shares

    held = examples[: 4 * recipe.train.batch_size]
    for path, some in ((run.train_rows, examples), (run.valid_rows, held), (run.test_rows, [])):
        write_jsonl(path, some)
    told = Message(role="assistant", content=TOLD)
    general = [
        Row((Message(role="user", content=item.prompt), told), name, line).to_json()
        for name in shares(recipe)
        for line, item in enumerate(load("off_task").items)
    ]
    write_lines(run.rehearsal_rows, [row | {"cut": False} for row in general])
    write_json(run.rehearsal_facts, {"rows": len(general), "sources": {}})
