"""report.html: one file, no network, made only from the files of the run directory.

`write` at the end of a run, and for any run dead or alive; `refresh` while it trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.disk import write_json, write_text
from appliance.errors import RunError
from appliance.report import examples, plots, plots_data, plots_result, plots_time, words
from appliance.report.numbers import numbers
from appliance.report.read import Reading, read
from appliance.report.summary import figure
from appliance.run import RunDir, now

if TYPE_CHECKING:
    from jinja2 import Environment

RENEW = 30  # seconds after which the open page of a run that is going on is read again
LISTED, LONG = 12, 400  # entries of a list, and characters of a text, that the manifest shows
WAYS = {
    "zero_shot": "the prompt alone",
    "labels": "the prompt, with the possible answers named",
    "few_shot": "few-shot: near rows shown as examples",
    "retrieval": "retrieval: near rows given as context",
    "nearest": "the nearest row's own answer, no model",
}
FORMS = {
    "plain": "{:.3g}",
    "percent": "{:.0%}",
    "points": "{:+.0%}",
    "nats": "{:.3f}",
    "count": "{:,.0f}",
}


def environment(*folders: Path) -> Environment:
    """Templates of `folders`, then of this one. All that they are given is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"figure": figure, "number": number, "name": words.name_of, "when": when}
    return made


def number(value: float, form: str = "plain") -> str:
    """As a page shows it; `form`: one of FORMS."""
    return FORMS[form].format(value)


def when(time: str) -> str:
    """`2026-11-27 01:51 UTC` of a time as files have it; anything else as it is."""
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return time


def write(run: RunDir, *, over: bool | None = None) -> Reading:
    """report.html, and of a run that came to its end report.json, which says that it is written.

    `over`: whether the run has ended; None: its lock and its events say. Raises RunError where the
    folder holds nothing of a run, NoSpace.
    """
    reading = read(run, over=over)
    if not reading.holds_a_run:
        raise RunError(
            f"{run.root} is not a run directory.", "Name the folder that `train --run` made."
        )
    write_text(run.report, render(reading))
    if reading.state.kind in ("finished", "refused"):
        write_json(run.report_numbers, numbers(reading))
    return reading


def renew(run: RunDir) -> None:
    """The page anew, for whoever has other things to say: where that fails, the old one stays."""
    with suppress(Exception):
        write(run)


def render(reading: Reading) -> str:
    """The page as text. What comes from data and models is escaped by the template engine."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            r=reading,
            name=reading.name,
            time=now(),
            renew=RENEW if reading.state.running else None,
            words=words,
            ways=WAYS,
            training=plots.training(reading),
            result=plots_result.result(reading),
            data=plots_data.data(reading),
            resources=plots_time.resources(reading),
            examples=examples.groups(reading),
            recited=examples.recited(reading),
            manifest=shown(reading.manifest) if reading.manifest else None,
        )
    )


def shown(value: Any) -> Any:
    """The manifest without what would fill pages: long lists and texts are clipped, and say so."""
    if isinstance(value, Mapping):
        return {str(key): shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        more = [f"… {len(value) - LISTED} more"] if len(value) > LISTED else []
        return [*map(shown, value[:LISTED]), *more]
    if isinstance(value, str):
        return examples.clip(value, LONG)
    return value
