"""The comparison as a page: one file, no network, made only from the results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.compare.figures import signed
from appliance.compare.plot import plots
from appliance.compare.table import tables
from appliance.disk import write_text
from appliance.report.page import environment

KINDS = {
    "better": "Better on",
    "worse": "Worse on",
    "noise": "No more than noise",
    "not compared": "Not compared",
}
CLASSES = {"better": "yes", "worse": "no", "noise": "unclear", "not compared": "soft"}


def write(results: Mapping[str, Any], path: Path) -> None:
    """Render it. Names of runs and values of recipes are escaped. Raises RunError, NoSpace."""
    text = (
        environment(Path(__file__).parent)
        .get_template("compare.html.j2")
        .render(
            name=f"{', '.join(results['runs'])} compared",
            results=results,
            judged={run: _judged(apart) for run, apart in results["less_first"].items()},
            plots=plots(results),
            tables=tables(results),
        )
    )
    write_text(path, text)


def _judged(apart: list[Mapping[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """(heading, class, lines) of each kind that there is."""
    found = []
    for kind, heading in KINDS.items():
        lines = [_line(d) for d in apart if d["found"] == kind]
        if lines:
            found.append((heading, CLASSES[kind], lines))
    return found


def _line(apart: Mapping[str, Any]) -> str:
    if apart["value"] is None:
        return f"{apart['measure']}: {apart['text']}"
    figure = signed(apart["unit"], apart["value"], apart["interval"])
    return f"{apart['measure']}: {figure}, {apart['text']}"
