"""The stages in order. Each reads files of the run directory and writes files of it.

    recipe -> data -> baseline -> rehearse -> train -> evaluate -> gate -> dial -> export -> report

A stage whose last file is there is skipped, so the same command goes on where a run was stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import limits, manifest
from appliance.console import console, span
from appliance.disk import read_json, read_jsonl, write_json
from appliance.errors import DataError, GateRefused, RunError
from appliance.limits import Limit
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.sizing.cards import Price
from appliance.train import launch

NONE = "none"  # data.train of a run that only evaluates


@dataclass(frozen=True)
class Stage:
    name: str
    done: Callable[[RunDir], Path]  # the file whose presence says that it is done
    work: Callable[[RunDir, Recipe], None]


def data(run: RunDir, recipe: Recipe) -> None:
    """Files of the recipe -> data/{train,valid,test}.jsonl, audit.json, data/data.json.

    Raises GateRefused when the audit blocks.
    """
    from appliance.data.audit.stage import stage as audit
    from appliance.data.prepare import prepare
    from appliance.data.rows import write_jsonl
    from appliance.model.count import template

    if recipe.data.train == NONE:
        for path in (run.train_rows, run.valid_rows, run.test_rows):
            write_jsonl(path, [])
        write_json(run.data_facts, {"files": {}, "rows": 0})
        return

    def say(text: str) -> None:
        console.say(f"  {text}")

    prepared = prepare(
        recipe.data,
        preference=recipe.method == "dpo",
        seed=recipe.train.seed,
        say=say,
        near=recipe.audit.near,
    )
    write_jsonl(run.train_rows, prepared.train)
    write_jsonl(run.valid_rows, prepared.valid)
    write_jsonl(run.test_rows, prepared.test)
    audit(run, recipe, template(recipe.model), say)
    if recipe.evaluate.canaries:
        prepared.facts["canary_rows"] = plant_canaries(run, recipe, say)
    write_json(run.data_facts, prepared.facts)


def plant_canaries(run: RunDir, recipe: Recipe, say: Callable[[str], None]) -> int:
    """Made-up secrets into data/train.jsonl, and what they are into data/canaries.json.

    After the audit, which would take their repeats for duplicates. Returns how many rows they make.
    """
    from appliance.data.canaries import make, plant
    from appliance.data.rows import read_rows, write_jsonl

    canaries = make(recipe.train.seed)
    rows = read_rows(run.train_rows)
    planted = plant(rows, canaries, recipe.data.system, recipe.train.seed)
    write_json(run.canaries, [canary.to_json() for canary in canaries])
    write_jsonl(run.train_rows, planted)
    added = len(planted) - len(rows)
    say(f"canaries: {added} rows of {len(canaries)} made-up secrets planted in train.")
    return added


def baseline(run: RunDir, recipe: Recipe) -> None:
    from appliance.evaluate.measure import measure

    manifest.write(run, recipe)
    measure(run, recipe, "before")


def rehearse(run: RunDir, recipe: Recipe) -> None:
    """The base's own general dialogues, or given ones -> data/rehearsal.jsonl."""
    from appliance.train.rehearsal import rehearse as work

    work(run, recipe)


def train(run: RunDir, recipe: Recipe) -> None:
    from appliance.train.skeleton import train as work

    work(run, recipe)


def evaluate(run: RunDir, recipe: Recipe) -> None:
    from appliance.evaluate.measure import measure

    measure(run, recipe, "after")


def gate(run: RunDir, recipe: Recipe) -> None:
    from appliance.gate import decide, examples

    verdict = decide(read_json(run.scores_before), read_json(run.scores_after), recipe.policy)
    shown = {}
    if verdict.broken:
        shown = examples(verdict, read_jsonl(run.answers_before), read_jsonl(run.answers_after))
    write_json(run.verdict, verdict.as_json() | {"examples": shown})
    for reason in verdict.reasons:
        mark = {"yes": "ok  ", "no": "NO  ", "unclear": "?   "}.get(reason.passed, "-   ")
        console.say(f"  {mark}{reason.text}")


def dial(run: RunDir, recipe: Recipe) -> None:
    """Where the gate failed: the strength at which the adapter passes -> dial.json."""
    from appliance.evaluate.dial import dial as work

    work(run, recipe)


def export(run: RunDir, recipe: Recipe) -> None:
    from appliance.export.stage import export as work

    work(run, recipe)


def report(run: RunDir, recipe: Recipe) -> None:
    from appliance.report.page import write

    write(run, over=True)


STAGES = (
    Stage("data", lambda run: run.data_facts, data),
    Stage("baseline", lambda run: run.scores_before, baseline),
    Stage("rehearse", lambda run: run.rehearsal_facts, rehearse),
    Stage("train", lambda run: run.train_facts, train),
    Stage("evaluate", lambda run: run.scores_after, evaluate),
    Stage("gate", lambda run: run.verdict, gate),
    Stage("dial", lambda run: run.dial, dial),
    Stage("export", lambda run: run.export_facts, export),
    Stage("report", lambda run: run.report_numbers, report),
)


# Of a model that was tuned elsewhere there is nothing to train and nothing to ship.
COMPARING = ("data", "baseline", "evaluate", "gate", "report")


MEASURED = ("data", "baseline")  # up to there nothing is trained


@dataclass(frozen=True)
class Order:
    """How the stages are gone through: those that are not done yet, up to `last`, and those named
    in `again`; or `only` some. `force`: also with other data or libraries than it began with.
    `gpus`: cards of this machine that training takes. `price`: what an hour of the machine costs;
    None: what is typical of it.
    """

    last: str | None = None
    again: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    force: bool = False
    gpus: int = 1
    limit: Limit | None = None
    price: Price | None = None


WHOLE = Order()


def ready(run: RunDir, recipe: Recipe, order: Order = WHOLE) -> None:
    """Can it begin? A wrong name costs no time. No file changes but the log of events.

    Raises RunError where a run would go on with other data or libraries than it began with,
    RecipeError, ModelError, DataError.
    """
    launch.check(recipe, launch.processes_of(order.gpus))
    check(recipe)
    as_begun(run, order.force)


def go(run: RunDir, recipe: Recipe, order: Order = WHOLE) -> None:
    """Go through the stages. Raises LimitReached, and what they raise."""
    before = limits.spent(run)
    run.event(limits.COMMAND, "begins to work on it", spent=round(before, 1))
    with limits.within(order.limit, before):
        _stages(run, recipe, order)


def _stages(run: RunDir, recipe: Recipe, order: Order) -> None:
    for stage in STAGES:
        if stage.name in order.again:
            stage.done(run).unlink(missing_ok=True)
    for warning in recipe.warnings():
        console.say(f"warning: {warning}")
        run.event("warning", warning)
    stages = [stage for stage in STAGES if not order.only or stage.name in order.only]
    for number, stage in enumerate(stages, 1):
        title = f"[{number}/{len(stages)}] {stage.name}"
        if stage.done(run).is_file():
            console.say(f"{title}: done before")
        else:
            console.say(title)
            run.event("begins", stage.name)
            if stage.name != "report":
                run.report_numbers.unlink(missing_ok=True)  # it is of what was there before
            started, processor = time.monotonic(), processor_seconds()
            try:
                if stage.name == "train" and launch.processes_of(order.gpus) > 1:
                    launch.train(run, recipe, order.gpus)
                else:
                    stage.work(run, recipe)
            except GateRefused as refusal:
                if stage.name == "export":
                    run.event("refused", str(refusal))
                    report(run, recipe)  # what broke is there to be read
                raise
            finally:
                if order.price and run.manifest.is_file():
                    manifest.charge(run, order.price)
            seconds = time.monotonic() - started
            # Processor seconds say what it costs, also where other work ran beside it.
            spent = round(processor_seconds() - processor, 1)
            run.event("stage", stage.name, seconds=round(seconds, 1), processor_seconds=spent)
            console.say(f"  {stage.name} took {span(seconds)}")
        if stage.name == order.last:
            return
        if stage.name == "data" and not order.only and order.last not in MEASURED:
            foretell(run, recipe, order)


def foretell(run: RunDir, recipe: Recipe, order: Order = WHOLE) -> None:
    """Say what is still to come, in a line or two; training renews it by its own pace."""
    from appliance.plan import of_run
    from appliance.plan.lines import brief

    if run.train_facts.is_file():
        return
    try:
        plan = of_run(run, recipe, order.price)
    except Exception as error:  # no forecast is worth a run
        console.say(f"  no forecast: {error}")
        return
    for line in brief(plan):
        console.say(f"  {line}")
    limit = order.limit
    if limit and (short := limit.short_of(plan.total_seconds or 0)):
        console.say(f"  warning: {short}")
    known = {"limit": limit.seconds, "option": limit.option} if limit else {}
    run.event("forecast", brief(plan)[0], **plan.brief(), **known)


def processor_seconds() -> float:
    """Of this process, and of those that it started and that ended."""
    return sum(os.times()[:4])


def as_begun(run: RunDir, force: bool) -> None:
    """Raises RunError where a run would go on with other data or libraries; recorded if forced."""
    changed = manifest.changes(run)
    if not changed:
        return
    if not force and not run.report_numbers.is_file():
        raise RunError(
            f"{run.root} began with other data or libraries ({'; '.join(changed[:3])}).",
            "Go back to them, name another --run, or --force to go on all the same.",
        )
    run.event("changed", "; ".join(changed))


def check(recipe: Recipe) -> None:
    """Is everything there that the recipe names? Raises ModelError, DataError."""
    from appliance.evaluate import real_world
    from appliance.evaluate.suite import chosen
    from appliance.model import tuned
    from appliance.model.load import resolve
    from appliance.train import rehearsal

    resolve(recipe.model)
    if recipe.evaluate.tuned:
        tuned.check(recipe.evaluate.tuned, recipe.model)
    elif recipe.data.train == NONE:
        raise DataError("data.train is none, so there is nothing to train.", "Name --data.")
    rehearsal.check(recipe)
    real_world.check(recipe)
    chosen(recipe)
