"""One run as a column: where it stands, what was measured, what it took. Reads files alone.

A run of an older version, one that still goes on, or one with a damaged file is a column too: what
cannot be read is named in its `faults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from appliance.compare.measures import Measure
from appliance.compare.measures import read as read_measures
from appliance.errors import BadInput
from appliance.report.read import Reading, read
from appliance.run import RunDir, leaves

TRAINING = ("rehearse", "train")  # the stages whose time is that of training


@dataclass(frozen=True)
class Column:
    """`recipe`: every key with its value. `base` and `data` name what it was trained from, by
    digests where the manifest has them. `style`: that of the task's answers, which may leak.
    """

    name: str
    reading: Reading
    recipe: Mapping[str, Any]
    base: str
    data: frozenset[str]
    measures: Mapping[str, Measure]
    style: str | None
    faults: tuple[str, ...] = ()

    @property
    def evaluated(self) -> bool:
        return bool(self.measures)

    @property
    def unmeasured(self) -> str | None:
        """Why there are no measures; None where there are."""
        if self.measures:
            return None
        there = RunDir(self.reading.root).scores_after.is_file()
        return "its scores cannot be read" if there else "not evaluated"

    @property
    def training_seconds(self) -> float | None:
        """Of rehearse and train; None before training came to its end."""
        seconds = self.reading.seconds
        return sum(seconds.get(stage, 0.0) for stage in TRAINING) if "train" in seconds else None

    @property
    def whole_seconds(self) -> float | None:
        return sum(self.reading.seconds.values()) if self.reading.seconds else None

    @property
    def strength(self) -> float | None:
        """At which it passes the gate, where it does not as it was trained."""
        dial, verdict = self.reading.dial, self.reading.verdict
        return dial.chosen if dial and verdict and verdict.ship == "no" else None


def columns(folders: tuple[Path, ...]) -> list[Column]:
    """Raises BadInput unless they are two runs or more, each once; RunError for no run."""
    if len(folders) < 2:
        raise BadInput("One run is nothing to compare.", "Name two run directories or more.")
    known: dict[Path, Path] = {}
    for folder in folders:
        RunDir.open(folder)
        if (there := folder.resolve()) in known:
            raise BadInput(
                f"{folder} and {known[there]} are the same run."
                if folder != known[there]
                else f"{folder} is named twice.",
                "Name each run once.",
            )
        known[there] = folder
    names = [there.name for there in known]
    told = [
        there.name if names.count(there.name) == 1 else str(folder)
        for there, folder in known.items()
    ]
    return [column(folder, name) for folder, name in zip(folders, told, strict=True)]


def column(folder: Path, name: str) -> Column:
    reading = read(RunDir(folder))
    recipe = _recipe(reading.recipe_text)
    manifest = reading.manifest or {}
    base = _base(manifest, recipe)
    measures, unread = read_measures(RunDir(folder), base)
    known = tuple(str(folder / text.partition(" ")[0]) for text in reading.damaged)
    return Column(
        name=name,
        reading=reading,
        recipe=recipe,
        base=base,
        data=_data(manifest, recipe),
        measures=measures,
        style=reading.after.habit_leak.style if reading.after else None,
        faults=(*reading.damaged, *(text for text in unread if not text.startswith(known))),
    )


def money(run: Column) -> dict[str, Any] | None:
    """{"value", "currency", "source"}: what the whole run cost; None where it knows no price."""
    price, seconds = run.reading.price, run.whole_seconds
    if seconds is None or price is None:
        return None
    value = seconds / 3600 * price.per_hour
    return {"value": value, "currency": price.currency, "source": price.source}


def _recipe(text: str) -> dict[str, Any]:
    """As it was written, also by another version that knew other keys."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:
        tree = None
    return leaves(tree) if isinstance(tree, dict) else {}


def _base(manifest: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """`name, 4 bit, digest`: drift is measured against that."""
    model = manifest.get("model")
    model = model if isinstance(model, dict) else {}
    name = model.get("name", recipe.get("model.name"))
    digest = str(model.get("sha256", ""))[:12]
    return ", ".join(filter(None, [str(name), f"{recipe.get('model.bits')} bit", digest]))


def _data(manifest: Mapping[str, Any], recipe: Mapping[str, Any]) -> frozenset[str]:
    """Digests of the files that the rows were read from, or their names."""
    files = manifest.get("data")
    files = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    return frozenset([str(file.get("sha256")) for file in files] or [str(recipe.get("data.train"))])
