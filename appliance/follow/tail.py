"""The lines of a log that another process writes, read as they come."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Tail:
    """`rows`: every whole line so far that is a JSON object; `fresh`: those of the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.fresh: list[dict[str, Any]] = []
        self.anew = False  # is it another file than at the last look?
        self.written: float | None = None  # when, seconds since the epoch
        self._file = self._read = 0

    def look(self) -> None:
        """A log that was written anew (a training that goes on) is read anew."""
        self.fresh, self.anew = [], False
        try:
            with self.path.open("rb") as handle:
                self._same(handle.fileno())
                handle.seek(self._read)
                new = handle.read()
        except OSError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                self.fresh.append(row)
        self.rows += self.fresh

    def _same(self, descriptor: int) -> None:
        """Begin anew where this is another file, or a shorter one."""
        facts = os.fstat(descriptor)
        self.written = facts.st_mtime
        if facts.st_ino != self._file or facts.st_size < self._read:
            self._file, self._read, self.rows, self.anew = facts.st_ino, 0, [], True
