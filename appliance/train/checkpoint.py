"""Checkpoints of a training: each is whole or not there, and training goes on from the newest.

What is in one, and how it is read back (adapter, optimizer, schedule, random state), is
transformers' own (`train/resume.py`). Here it is made sure that one is whole: written aside,
hashed, synced, renamed; a damaged one is set aside and the one before it is used.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.console import console
from appliance.disk import sha256, space, sync, write_text
from appliance.train import processes

WHOLE = "whole.json"  # of every file its hash: written last
_NAME = re.compile(r"checkpoint-(\d+)")  # as transformers calls them


class Checkpoints:
    """Those of one run, in `folder`; the newest `keep` stay."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def all(self) -> list[Path]:
        """The newest first."""
        found = [p for p in self.folder.glob("checkpoint-*") if _NAME.fullmatch(p.name)]
        return sorted(found, key=step_of, reverse=True)

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """A folder in which `checkpoint-<step>` is made. It is there when the block ends well.

        Raises NoSpace; those that were there before stay. Older ones go only after it. Of several
        processes the first makes the folder and the checkpoint of what all have put in it.
        """
        aside, name = self.folder / ".part", f"checkpoint-{step}"
        first = processes.number() == 0
        try:
            with space(aside):
                if first:
                    shutil.rmtree(aside, ignore_errors=True)
                    aside.mkdir(parents=True)
                processes.wait()
                yield aside
                processes.wait()
                if first:
                    self._finish(aside / name)
                processes.wait()
        finally:
            if first:
                shutil.rmtree(aside, ignore_errors=True)

    def _finish(self, made: Path) -> None:
        files = sorted(path for path in made.rglob("*") if path.is_file())
        hashes = {str(path.relative_to(made)): sha256(path) for path in files}
        for path in files:
            sync(path)
        write_text(made / WHOLE, json.dumps(hashes, indent=2) + "\n")
        sync(made)
        place = self.folder / made.name
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)
        sync(self.folder)
        for old in self.all()[self.keep :]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Path | None:
        """The newest whole one; a damaged one is set aside as `damaged-<name>`, and said."""
        for path in self.all():
            if is_whole(path):
                return path
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            console.say(f"  {path.name} is damaged: set aside as {aside.name}")
        return None


def step_of(path: Path) -> int:
    """Steps that were done when it was written."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0


def is_whole(path: Path) -> bool:
    """Is every file there as it was written?"""
    try:
        hashes = json.loads((path / WHOLE).read_text(encoding="utf-8"))
        return bool(hashes) and all(sha256(path / name) == was for name, was in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


class Clock:
    """Is it time for a checkpoint? Every `minutes`, and not at the last step: it is over then."""

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.last = time.monotonic()

    def due(self, step: int, steps: int) -> bool:
        if step >= steps or time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True
