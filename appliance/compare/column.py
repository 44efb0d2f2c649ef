"""One run as a column: where it stands, what was measured, what it took. Reads files alone.

A run of an older version, one that still goes on, or one with a damaged file is a column too: what
cannot be read is named in its `faults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from appliance.compare.measures import Measure, read
from appliance.disk import read_json, read_log
from appliance.doctor.run import Standing, standing
from appliance.errors import BadInput, RunError
from appliance.run import RunDir, held, leaves

TRAINING = ("rehearse", "train")  # the stages whose time is that of training


@dataclass(frozen=True)
class Column:
    """`recipe`: every key with its value. `seconds`: of each stage, the last time that it ended.

    `base` and `data` name what it was trained from, by digests where the manifest has them.
    """

    name: str
    run: RunDir
    standing: Standing
    recipe: Mapping[str, Any]
    base: str
    data: frozenset[str]
    measures: Mapping[str, Measure]
    seconds: Mapping[str, float]
    training: Mapping[str, Any]
    verdict: Mapping[str, Any]
    strength: float | None  # that the dial chose
    alarms: tuple[str, ...]
    machine: Mapping[str, Any]
    style: str | None
    faults: tuple[str, ...] = field(default=())

    @property
    def evaluated(self) -> bool:
        return bool(self.measures)

    @property
    def training_seconds(self) -> float | None:
        """Of rehearse and train; None before training came to its end."""
        if "train" not in self.seconds:
            return None
        return sum(self.seconds.get(stage, 0.0) for stage in TRAINING)

    @property
    def whole_seconds(self) -> float | None:
        return sum(self.seconds.values()) if self.seconds else None


def columns(folders: tuple[Path, ...]) -> list[Column]:
    """Raises BadInput unless they are two runs or more, each once; RunError for no run."""
    if len(folders) < 2:
        raise BadInput("One run is nothing to compare.", "Name two run directories or more.")
    known: dict[Path, Path] = {}
    for folder in folders:
        RunDir.open(folder)
        if (there := folder.resolve()) in known:
            raise BadInput(
                f"{folder} and {known[there]} are the same run." if folder != known[there]
                else f"{folder} is named twice.",
                "Name each run once.",
            )  # fmt: skip
        known[there] = folder
    names = [there.name for there in known]
    told = [
        there.name if names.count(there.name) == 1 else str(folder)
        for there, folder in known.items()
    ]
    return [column(folder, name) for folder, name in zip(folders, told, strict=True)]


def column(folder: Path, name: str) -> Column:
    run, faults = RunDir(folder), []

    def there(path: Path) -> Mapping[str, Any]:
        try:
            return read_json(path) if path.is_file() else {}
        except RunError as error:
            faults.append(error.what)
            return {}

    running = held(run.root)  # before the events: what it had to say at its end is there by then
    try:
        events = read_log(run.events)
    except RunError as error:
        faults.append(error.what)
        events = []
    recipe = _recipe(run, faults)
    manifest = there(run.manifest)
    base = _base(manifest, recipe)
    measures, unread = read(run, base)
    begun = max((i for i, e in enumerate(events) if e["kind"] == "train"), default=0)
    return Column(
        name=name,
        run=run,
        standing=standing(run, events, running),
        recipe=recipe,
        base=base,
        data=_data(manifest, recipe),
        measures=measures,
        seconds={e["text"]: e["seconds"] for e in events if e["kind"] == "stage"},
        training=there(run.train_facts),
        verdict=there(run.verdict),
        strength=there(run.dial).get("chosen"),
        alarms=tuple(e["text"] for e in events[begun:] if e["kind"] == "alarm"),
        machine=manifest.get("machine") or {},
        style=(there(run.scores_after).get("habit_leak") or {}).get("style"),
        faults=tuple(dict.fromkeys([*faults, *unread])),
    )


def _recipe(run: RunDir, faults: list[str]) -> dict[str, Any]:
    """As it was written, also by another version that knew other keys."""
    try:
        tree = yaml.safe_load(run.recipe_file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        tree = None
    if isinstance(tree, dict):
        return leaves(tree)
    faults.append(f"{run.recipe_file} cannot be read.")
    return {}


def _base(manifest: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """`name, 4 bit, digest`: drift is measured against that."""
    model = manifest.get("model") or {}
    name = model.get("name", recipe.get("model.name"))
    digest = str(model.get("sha256", ""))[:12]
    return ", ".join(filter(None, [str(name), f"{recipe.get('model.bits')} bit", digest]))


def _data(manifest: Mapping[str, Any], recipe: Mapping[str, Any]) -> frozenset[str]:
    """Digests of the files that the rows were read from, or their names."""
    files = manifest.get("data") or []
    found = [str(file.get("sha256")) for file in files]
    return frozenset(found or [str(recipe.get("data.train"))])
