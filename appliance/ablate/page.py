"""ablate.html: one file, no network, made only from results.json and recommended.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.ablate.folder import Folder
from appliance.ablate.plot import plot
from appliance.ablate.table import notes, tables
from appliance.disk import write_text
from appliance.report.page import environment


def write(folder: Folder, results: Mapping[str, Any]) -> None:
    """Render the page. Text from recipes is escaped by the template engine."""
    chosen = folder.recommended
    text = (
        environment(Path(__file__).parent)
        .get_template("ablate.html.j2")
        .render(
            name=folder.root.resolve().name,
            results=results,
            notes=notes(results),
            tables=tables(results),
            plot=plot(results),
            recommended=chosen.read_text(encoding="utf-8") if chosen.is_file() else None,
        )
    )
    write_text(folder.page, text)
