"""The group of verbs: errors become one sentence and an exit code, and what verbs share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from appliance import __version__
from appliance.console import console
from appliance.errors import ApplianceError, BadInput, LimitReached, Stop

if TYPE_CHECKING:
    from appliance.pipeline import Order
    from appliance.recipe import Recipe
    from appliance.run import RunDir

PLAIN = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
recipe_options = [
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                 help="Set any recipe key, e.g. train.epochs=1. Again for more."),
    click.option("--model", metavar="NAME", help="model.name: embedded, a folder or a hub id."),
    click.option("--data", metavar="FILE", help="data.train: a file, a folder, demo or a hub id."),
]  # fmt: skip


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
        except LimitReached as limit:
            console.say("the limit is reached. The same command with a higher one goes on.")
            sys.exit(limit.exit_code)
        except Stop as stop:
            console.say("terminated. The same command goes on where it was.")
            sys.exit(stop.exit_code)
        except KeyboardInterrupt:
            console.say("interrupted. The same command goes on where it was.")
            sys.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort, SystemExit):
            raise
        except BrokenPipeError:  # who read it has had enough, as `head` does: click leaves quietly
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
    """--set, --model and --data."""
    for option in reversed(recipe_options):
        command = option(command)
    return command


def overriding(overrides: tuple[str, ...], model: str | None, data: str | None) -> tuple[str, ...]:
    """--model and --data as overrides, and --set laid over them."""
    short = [f"model.name={model}"] if model is not None else []
    short += [f"data.train={data}"] if data is not None else []
    return (*short, *overrides)


def load(name: str, overrides: tuple[str, ...], model: str | None, data: str | None) -> Recipe:
    """The recipe with --model and --data laid over it, then --set."""
    from appliance.recipe import load as read

    return read(name, overriding(overrides, model, data))


def quiet(log: Path) -> None:
    """What libraries print goes to `log`, unless --verbose."""
    if not os.environ.get("APPLIANCE_VERBOSE"):
        console.quiet(log)


def stages(run: RunDir, recipe: Recipe, order: Order | None = None) -> None:
    """Hold the run, and do its stages. Bad input leaves no half of a new run behind."""
    from appliance import pipeline

    order = order or pipeline.WHOLE
    fresh, begun = not run.root.exists(), False
    try:
        with run.lock():
            run.create(recipe, order.force)
            quiet(run.log)
            try:
                pipeline.ready(run, recipe, order)
                begun = True
                pipeline.go(run, recipe, order)
            except BaseException as error:
                _last_words(run, order, error)
                raise
    except BaseException as error:
        if begun and run.data_facts.is_file():
            from appliance.report.page import renew

            renew(run)  # the lock is free again, so the page tells how it ended
        elif fresh and isinstance(error, BadInput):
            shutil.rmtree(run.root, ignore_errors=True)
        raise


def _last_words(run: RunDir, order: Order, error: BaseException) -> None:
    """Into the run's events: how its command ends, and with which exit code."""
    match error:
        case ApplianceError():
            run.event("error", str(error), exit=error.exit_code)
        case LimitReached():
            run.event("stopped", order.limit.option if order.limit else "", exit=error.exit_code)
        case Stop():
            run.event("stopped", "SIGTERM", exit=error.exit_code)
        case KeyboardInterrupt():
            run.event("stopped", "SIGINT", exit=130)
        case Exception():
            run.event("error", f"{type(error).__name__}: {str(error).strip()[:300]}", exit=1)
