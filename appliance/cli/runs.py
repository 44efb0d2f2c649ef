"""The verbs that make a run and use one: train, evaluate, export, push, chat."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

import click

from appliance.cli.group import PLAIN, load, main, quiet, stages, with_recipe
from appliance.console import console
from appliance.errors import BadInput


@main.command(context_settings=PLAIN)
@click.argument("recipe", default="sft")
@with_recipe
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Run directory.")
@click.option("--force", is_flag=True, help="Go on in a run that another recipe made.")
@click.option("--dial", is_flag=True, help="Sweep the adapter's strength also where it passes.")
@click.option(
    "--gpus",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Cards that training takes.",
)
@click.option("--max-hours", type=float, metavar="HOURS", help="Stop there, with a checkpoint.")
@click.option("--max-cost", type=float, metavar="DOLLARS", help="The same, by what an hour costs.")
@click.option("--price", type=float, metavar="DOLLARS", help="An hour's; unset: what is typical.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and the plan only.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def train(
    recipe: str,
    overrides: tuple[str, ...],
    model: str | None,
    data: str | None,
    folder: Path | None,
    force: bool,
    dial: bool,
    gpus: int,
    max_hours: float | None,
    max_cost: float | None,
    price: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train by RECIPE (a file or a shipped name), measure before and after, and export.

    Exit 4: it stopped at --max-hours or --max-cost; with a higher one the same command goes on.
    """
    from appliance.limits import limit
    from appliance.pipeline import Order
    from appliance.plan.machine import price_here
    from appliance.run import RunDir, fresh_name

    found = load(recipe, (*overrides, *(["policy.dial=always"] if dial else [])), model, data)
    if dry_run:
        from appliance.plan import reckon

        made = reckon(found, per_hour=price)
        if as_json:
            both = {"recipe": found.model_dump(mode="json"), "plan": made.to_json()}
            console.result(json.dumps(both, indent=2))
        else:
            console.result(found.dump() + "\n" + "\n".join(f"# {line}" for line in made.lines()))
        return
    run = RunDir(folder or fresh_name(recipe))
    if gpus > 1:
        _must_have(gpus)
    charged = price_here(price) if price is not None or max_cost is not None else None
    most = limit(max_hours, max_cost, charged)
    stages(run, found, Order(force=force, gpus=gpus, limit=most, price=charged))
    _summary(run, as_json)


def _must_have(gpus: int) -> None:
    """Raises BadInput where this machine has fewer cards."""
    from appliance.model import backend

    cards = backend.torch().cuda.device_count()
    if cards < gpus:
        there = "no card of NVIDIA's" if not cards else f"{cards} of NVIDIA's"
        raise BadInput(
            f"--gpus {gpus}: this machine shows {there}.",
            f"Leave --gpus away or take {cards}; `nvidia-smi -L` lists them."
            if cards
            else "Leave --gpus away; `appliance doctor` says what it sees.",
        )


def _summary(run: Any, as_json: bool) -> None:
    from appliance.report.summary import lines, summary

    facts = summary(run)
    if as_json:
        console.result(json.dumps(facts, indent=2))
        return
    for line in lines(facts):
        console.say(line)


@main.command(context_settings=PLAIN)
@click.argument("target", metavar="RUN_OR_MODEL")
@with_recipe
@click.option("--base", metavar="BASE", help="What it was tuned from: judge it against that.")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Where a model's scores go.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON on stdout.")
def evaluate(
    target: str,
    overrides: tuple[str, ...],
    model: str | None,
    data: str | None,
    base: str | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure a run's adapter again, or any model (folder, hub id, embedded, PEFT adapter).

    With --base it is judged against that, as a run's adapter is (exit 3: the gate says no).
    """
    from appliance.disk import read_json
    from appliance.pipeline import COMPARING, Order
    from appliance.report.summary import score_lines
    from appliance.run import RunDir, fresh_name

    if RunDir(target).recipe_file.is_file():
        if overrides or model or data or base:
            raise BadInput(
                f"{target} is a run: it is measured by its own recipe.",
                "Leave --set, --model, --data and --base away, or name a model.",
            )
        run = RunDir.open(target)
        stages(run, run.recipe(), Order(again=("evaluate", "gate", "dial", "report")))
        scores = read_json(run.scores_after)
    elif base is not None:
        sets = ("model.bits=16", "rehearsal.self=false", f"evaluate.tuned={target}", *overrides)
        run = RunDir(folder or fresh_name("compare"))
        stages(run, load("sft", sets, base, data or "none"), Order(only=COMPARING))
        _summary(run, as_json)
        sys.exit(0 if read_json(run.verdict)["ship"] == "yes" else 3)
    else:
        # A model is measured as it is: in 16 bits, unless the recipe says otherwise.
        found = load("sft", ("model.bits=16", *overrides), target, data)
        run = RunDir(folder or fresh_name("evaluate"))
        stages(run, found, Order("baseline"))
        scores = read_json(run.scores_before)
    if as_json:
        console.result(json.dumps(scores, indent=2))
    else:
        for line in score_lines(scores):
            console.say(line)


@main.command(context_settings=PLAIN)
@click.argument("folder", metavar="RUN")
@click.option(
    "--strength", type=click.FloatRange(0, 2), help="Scale of the adapter (1: as trained)."
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="FORM",
    help="merged, adapter, gguf:lora, gguf:bf16, gguf:f16, gguf:q8_0, gguf:q5_k_m, gguf:q4_k_m; "
    "repeat it.",
)
@click.option("--force", is_flag=True, help="Export although the verdict is no.")
def export(folder: str, strength: float | None, formats: tuple[str, ...], force: bool) -> None:
    """Write what RUN ships again, at any strength and in any form, and prove it."""
    from appliance.run import RunDir
    from appliance.sections.judging import Format

    if unknown := [form for form in formats if form not in get_args(Format)]:
        raise BadInput(f"There is no format {unknown[0]}.", f"Take {', '.join(get_args(Format))}.")

    run = RunDir.open(folder)
    with run.lock():
        quiet(run.log)
        from appliance.export.stage import export as work

        work(run, run.recipe(), strength=strength, formats=formats, force=force)
    from appliance.report.page import renew

    renew(run)
    console.say(f"exported to {run.merged.parent}")


@main.command(context_settings=PLAIN)
@click.argument("folder", metavar="RUN")
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Make a new repository public (else private).")
def push(folder: str, repo: str, public: bool) -> None:
    """Send what RUN exported, its card and its proof to the Hugging Face Hub."""
    from appliance.run import RunDir

    run = RunDir.open(folder)
    with run.lock():  # not `quiet`: the hub's library shows how far it is
        from appliance.export.push import push as work

        address = work(run, repo, public=public)
    console.result(address)


@main.command(context_settings=PLAIN)
@click.argument("target", metavar="RUN_OR_MODEL", default="embedded")
@click.option("--prompt", help="Ask once and end.")
@click.option("--system", help="System prompt.")
@click.option("--base", is_flag=True, help="With a run: its base, without the adapter.")
@click.option("--tokens", default=256, show_default=True, help="Longest answer.")
@click.option("--json", "as_json", is_flag=True, help="With --prompt: the answer as JSON.")
def chat(
    target: str, prompt: str | None, system: str | None, base: bool, tokens: int, as_json: bool
) -> None:
    """Talk to a run's tuned model, or to any model (folder, hub id, embedded)."""
    if prompt is None and not sys.stdin.isatty():
        raise BadInput("chat needs a terminal.", "Ask once with --prompt TEXT.")
    quiet(Path(os.devnull))
    from appliance.talk import Talk

    talk = Talk(target, base=base, system=system, tokens=tokens)
    if prompt is not None:
        answer = talk.ask(prompt)
        console.result(json.dumps(answer) if as_json else answer["answer"])
        return
    talk.loop()
