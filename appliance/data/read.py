"""From what the recipe names to raw rows: a file, a folder of files, or a data set on the hub."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.data.files import KNOWN, Raw, brief, ending, read_file
from appliance.errors import DataError

__all__ = ["Located", "Raw", "locate", "read", "read_located"]

# owner/name or owner/name:split; a split may be cut, as in train[:10%].
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::([\w.]+(?:\[[\d:%+-]*\])?))?")


@dataclass(frozen=True, slots=True)
class Located:
    """Where rows come from: files, or a hub id with its split. `ignored` are names of a folder."""

    files: tuple[Path, ...] = ()
    ignored: tuple[str, ...] = ()
    hub: str | None = None
    split: str = "train"


def read(source: str | Path) -> Iterator[Raw]:
    """Stream the rows of a file, a folder or a hub id. Raises DataError."""
    return read_located(locate(source))


def read_located(located: Located) -> Iterator[Raw]:
    if located.hub is not None:
        yield from _hub(located.hub, located.split)
    for path in located.files:
        yield from read_file(path)


def locate(source: str | Path) -> Located:
    """Find what `source` names, without reading rows. Raises DataError."""
    text = str(source)
    path = Path(os.path.expanduser(text))
    if os.path.isdir(path):
        return _folder(path)
    if os.path.exists(path):
        if ending(path) is None:
            raise DataError(f"{path} has an ending that is not known.", f"Give a file of {KNOWN}.")
        return Located(files=(path,))
    match = _HUB.fullmatch(text)
    # data/train.csv looks like owner/name too: an ending or a folder of that name says file.
    if match and ending(path) is None and not os.path.isdir(path.parent):
        return Located(hub=match[1], split=match[2] or "train")
    raise DataError(f"There is no file {path}.", _near(path))


def _near(path: Path) -> str:
    try:
        names = sorted(os.listdir(path.parent))
    except (OSError, ValueError):
        return f"There is no folder {path.parent} either: check the path."
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "Check the path."


def _folder(path: Path) -> Located:
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}).", "Check the rights of the folder."
        ) from error
    files = tuple(entry for entry in entries if entry.is_file() and ending(entry))
    ignored = tuple(entry.name for entry in entries if entry not in files)
    if not files:
        seen = f" (it holds {', '.join(ignored[:5])})" if ignored else ""
        raise DataError(f"The folder {path} holds no data file{seen}.", f"Give files of {KNOWN}.")
    return Located(files=files, ignored=ignored)


def _hub(name: str, split: str) -> Iterator[Raw]:
    """Rows of a data set on the hub. Numbered classes become their names, which are the answers."""
    try:
        from datasets import load_dataset

        table = load_dataset(name, split=split)
        classes = {
            column: feature.names
            for column, feature in table.features.items()
            if hasattr(feature, "names")
        }
    except Exception as error:  # Network, rights, name, config: each its own family of errors.
        raise DataError(
            f"{name} (split {split}) is no file here, and the hub did not give it: {brief(error)}.",
            "Check the name and the network, or download it and give the file instead.",
        ) from error
    for number, fields in enumerate(table, 1):
        yield Raw(_named(dict(fields), classes), f"{name}:{split}", number)


def _named(fields: dict[str, Any], classes: dict[str, list[str]]) -> dict[str, Any]:
    for column, names in classes.items():
        value = fields.get(column)
        if isinstance(value, int) and 0 <= value < len(names):
            fields[column] = names[value]
    return fields
