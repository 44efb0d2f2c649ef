"""The doors. Each verb imports what it needs inside its body, so that --help is there at once."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click

from appliance import __version__
from appliance.console import console
from appliance.errors import ApplianceError, BadInput, Terminated

PLAIN = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
recipe_options = [
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                 help="Set any recipe key, e.g. train.epochs=1. Again for more."),
    click.option("--model", metavar="NAME", help="model.name: embedded, a folder or a hub id."),
    click.option("--data", metavar="FILE", help="data.train: a file, a folder, demo or a hub id."),
]  # fmt: skip


class Stop(BaseException):
    """SIGTERM. Not an Exception: libraries swallow those while they import one another."""


class Doors(click.Group):
    """Runs a verb, and turns an error into one sentence on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        signal.signal(signal.SIGTERM, _terminated)
        try:
            return super().invoke(ctx)
        except ApplianceError as error:
            if ctx.params.get("debug"):
                console.trace()
            console.say(f"error: {error.what}")
            if error.do:
                console.say(f"  {error.do}")
            sys.exit(error.exit_code)
        except Stop:
            console.say("terminated. The same command goes on at the stage it was in.")
            sys.exit(Terminated.exit_code)
        except KeyboardInterrupt:
            console.say("interrupted. The same command goes on at the stage it was in.")
            sys.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort, SystemExit):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                console.trace()
            console.say(f"error: {type(error).__name__}: {str(error).strip()[:300]}")
            console.say("  This is a fault in the appliance or a library: --debug shows where.")
            sys.exit(1)


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise Stop


@click.group(cls=Doors, context_settings=PLAIN)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--verbose", is_flag=True, help="Show what the libraries print.")
@click.version_option(__version__, prog_name="appliance")
def main(debug: bool, verbose: bool) -> None:
    """Fine-tune a language model on one GPU (or none) without forgetting silently.

    `appliance train` alone trains the embedded model on the embedded demo.
    """
    if verbose:
        os.environ["APPLIANCE_VERBOSE"] = "1"


def with_recipe(command: Any) -> Any:
    for option in reversed(recipe_options):
        command = option(command)
    return command


def _load(name: str, overrides: tuple[str, ...], model: str | None, data: str | None) -> Any:
    """The recipe with --model and --data laid over it, then --set."""
    from appliance.recipe import load

    short = [f"model.name={model}"] if model is not None else []
    short += [f"data.train={data}"] if data is not None else []
    return load(name, [*short, *overrides])


def _quiet(log: Path) -> None:
    if not os.environ.get("APPLIANCE_VERBOSE"):
        console.quiet(log)


@main.command(context_settings=PLAIN)
@click.argument("recipe", default="sft")
@with_recipe
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Run directory.")
@click.option("--force", is_flag=True, help="Go on in a run that another recipe made.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and the plan only.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def train(
    recipe: str,
    overrides: tuple[str, ...],
    model: str | None,
    data: str | None,
    folder: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train by RECIPE (a file or a shipped name), measure before and after, and export."""
    from appliance.run import RunDir, fresh_name

    found = _load(recipe, overrides, model, data)
    if dry_run:
        from appliance.plan import plan

        made = plan(found)
        if as_json:
            console.result(
                json.dumps({"recipe": found.model_dump(mode="json"), "plan": made}, indent=2)
            )
        else:
            console.result(found.dump() + "\n" + "\n".join(f"# {line}" for line in made["lines"]))
        return
    run = RunDir(folder or fresh_name(recipe))
    _pipeline(run, found, force=force)
    _summary(run, as_json)


def _pipeline(
    run: Any,
    recipe: Any,
    last: str | None = None,
    force: bool = False,
    again: tuple[str, ...] = (),
) -> None:
    """Hold the run, and do its stages. Bad input leaves no half of a new run behind."""
    import shutil

    from appliance.pipeline import go

    fresh = not run.root.exists()
    try:
        with run.lock():
            run.create(recipe, force)
            _quiet(run.log)
            try:
                go(run, recipe, last, again)
            except ApplianceError as error:
                run.event("error", str(error))
                raise
    except BadInput:
        if fresh and not run.data_facts.is_file():
            shutil.rmtree(run.root, ignore_errors=True)
        raise


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
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Where a model's scores go.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON on stdout.")
def evaluate(
    target: str,
    overrides: tuple[str, ...],
    model: str | None,
    data: str | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure a run's adapter again, or a model (folder, hub id, embedded) on --data."""
    from appliance.report.summary import score_lines
    from appliance.run import RunDir, fresh_name, read_json

    if RunDir(target).recipe_file.is_file():
        if overrides or model or data:
            raise BadInput(
                f"{target} is a run: it is measured by its own recipe.",
                "Leave --set, --model and --data away, or name a model.",
            )
        run = RunDir.open(target)
        _pipeline(run, run.recipe(), again=("evaluate", "gate", "report"))
        scores = read_json(run.scores_after)
    else:
        # A model is measured as it is: in 16 bits, unless the recipe says otherwise.
        found = _load("sft", ("model.bits=16", *overrides), target, data)
        run = RunDir(folder or fresh_name("evaluate"))
        _pipeline(run, found, "baseline")
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
@click.option("--force", is_flag=True, help="Export although the verdict is no.")
def export(folder: str, strength: float | None, force: bool) -> None:
    """Write the merged 16-bit model of RUN again, at any strength."""
    from appliance.run import RunDir

    run = RunDir.open(folder)
    with run.lock():
        _quiet(run.log)
        from appliance.export.stage import export as work

        work(run, run.recipe(), strength=strength, force=force)
    console.say(f"merged model: {run.merged}")


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
    _quiet(Path(os.devnull))
    from appliance.talk import Talk

    talk = Talk(target, base=base, system=system, tokens=tokens)
    if prompt is not None:
        answer = talk.ask(prompt)
        console.result(json.dumps(answer) if as_json else answer["answer"])
        return
    talk.loop()


@main.command(context_settings=PLAIN)
@click.option("--quick", is_flag=True, help="Under a second: no torch and no network.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as JSON on stdout.")
def doctor(quick: bool, as_json: bool) -> None:
    """Say what is wrong with this machine, and what to do."""
    from dataclasses import asdict

    from appliance.doctor import examine, table

    lines = examine(quick)
    ok = all(line.status != "fail" for line in lines)
    facts = {"ok": ok, "lines": [asdict(line) for line in lines]}
    console.result(json.dumps(facts, indent=2) if as_json else table(lines))
    sys.exit(0 if ok else 1)


@main.command(context_settings=PLAIN)
@click.argument("data", required=False)
@recipe_options[0]
@recipe_options[1]
@click.option("--recipe", "name", metavar="RECIPE", help="A recipe; unset: sft or dpo, by DATA.")
@click.option("--test", metavar="FILE", help="data.test: held-out rows that train must not have.")
@click.option(
    "--fix",
    type=click.Path(path_type=Path),
    metavar="OUT.jsonl",
    help="Write a cleaned copy, and to OUT.aside.jsonl what is set aside.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the audit as JSON on stdout.")
def audit(
    data: str | None,
    overrides: tuple[str, ...],
    model: str | None,
    name: str | None,
    test: str | None,
    fix: Path | None,
    as_json: bool,
) -> None:
    """Say what is wrong with DATA before a GPU minute is spent (exit 3: the verdict is block)."""
    from appliance.data.audit.source import preference
    from appliance.data.audit.stage import lines, refuse
    from appliance.data.audit.verb import audit as work
    from appliance.model.count import template

    if test is not None:
        overrides = (f"data.test={test}", *overrides)
    found = _load(name or "sft", overrides, model, data)
    if name is None and preference(found.data):
        found = _load("dpo", overrides, model, data)
    made = work(found, found.method == "dpo", template(found.model), fix)
    if as_json:
        console.result(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        console.result("\n".join(lines(made)))
    refuse(made)


@main.group(context_settings=PLAIN)
def recipes() -> None:
    """List, show and copy the shipped recipes."""


@recipes.command("list")
@click.option("--json", "as_json", is_flag=True)
def recipes_list(as_json: bool) -> None:
    """The shipped recipes, a line each."""
    from appliance.recipe import shipped_folder

    found = {}
    for path in sorted(shipped_folder().glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        found[path.stem] = first.lstrip("# ")
    if as_json:
        console.result(json.dumps(found, indent=2))
    else:
        for name, text in found.items():
            console.result(f"{name:20} {text}")


@recipes.command("show")
@click.argument("name")
@with_recipe
@click.option("--json", "as_json", is_flag=True)
def recipes_show(
    name: str, overrides: tuple[str, ...], model: str | None, data: str | None, as_json: bool
) -> None:
    """A recipe with every key resolved."""
    found = _load(name, overrides, model, data)
    console.result(json.dumps(found.model_dump(mode="json"), indent=2) if as_json else found.dump())


@recipes.command("copy")
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path), default=None, required=False)
def recipes_copy(name: str, target: Path | None) -> None:
    """Copy a shipped recipe to TARGET (here, under its name, by default)."""
    from appliance.recipe import find
    from appliance.run import write_text

    source = find(name)
    path = target or Path(source.name)
    if path.is_dir():
        path = path / source.name
    if path.exists():
        raise BadInput(f"{path} is there already.", "Name another file.")
    write_text(path, source.read_text(encoding="utf-8"))
    console.result(str(path))


if __name__ == "__main__":
    main()
