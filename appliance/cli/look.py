"""The verbs that look at runs and change nothing in them but the page: compare, watch, report."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

from appliance.cli.group import PLAIN, main
from appliance.console import console

UNBOUND = 10_000  # characters of a line in a file or a pipe, which nothing breaks


@main.command(context_settings=PLAIN)
@click.argument("runs", nargs=-1, metavar="RUN RUN...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html",
              help="Write it as a page too: one file.")  # fmt: skip
def compare(runs: tuple[Path, ...], as_json: bool, page: Path | None) -> None:
    """Say which RUN is better on what, item by item against the first, and what is only noise."""
    from appliance.compare.column import columns
    from appliance.compare.results import compare as work

    results = work(columns(runs))
    if page is not None:
        from appliance.compare.page import write

        write(results, page)
    if as_json:
        console.result(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        from appliance.compare.table import text

        wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBOUND
        console.result(text(results, wide))
    if page is not None:
        console.say(f"  {page}")


@main.command(context_settings=PLAIN)
@click.argument("folder", metavar="RUN")
@click.option("--once", is_flag=True, help="Show how it stands and end.")
def watch(folder: str, once: bool) -> None:
    """Show how RUN goes, from another shell, until it ends; the exit code is then the run's."""
    from appliance.follow.screen import follow
    from appliance.run import RunDir

    run = RunDir.open(folder)
    try:
        code = follow(run, once)
    except KeyboardInterrupt:
        console.say("no longer watched; the run goes on.")
        code = 130
    sys.exit(code)


@main.command(context_settings=PLAIN)
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the numbers of the page as JSON.")
def report(folder: Path, as_json: bool) -> None:
    """Write RUN's report.html anew, whether it goes on, has ended or died; its path on stdout."""
    from appliance.report.numbers import numbers
    from appliance.report.page import write
    from appliance.run import RunDir

    run = RunDir(folder)
    reading = write(run)
    for text in reading.damaged:
        console.say(f"warning: {text}")
    console.result(json.dumps(numbers(reading), indent=2) if as_json else str(run.report))
