"""The rows of an audit, on disk: texts in one file, and a few numbers a row in memory.

Memory is some 80 bytes a row, however long the rows are. Texts are read back by place, so a
pair of candidates costs two short reads and no copy of the data.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.data.audit import text
from appliance.data.rows import Example, Pair, Row
from appliance.data.split import prompt_key

PARTS = ("train", "valid", "test", "probe")
_BUFFER = 1 << 20


def digest(*texts: str) -> int:
    whole = "\x1f".join(texts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "little")


class Table:
    """Append, then read. One table holds all parts, so that one index finds what they share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = (folder / "rows.jsonl").open("w+b", buffering=_BUFFER)
        self._at = 0
        self._files: dict[str, int] = {}
        self._names: list[str] = []
        self.start, self.part, self.file, self.line = (array(c) for c in "QBIQ")
        # Hashes: the whole row, the prompt, the prompt with its system message, the answer.
        self.exact, self.prompt, self.asked, self.answer, self.rejected = (
            array("Q") for _ in range(5)
        )
        self.prompt_words, self.answer_words, self.bytes = (array("I") for _ in range(3))
        self.ordinal = array("q")

    def __len__(self) -> int:
        return len(self.part)

    def add(self, part: str, row: Example, ordinal: int = -1) -> int:
        """Keep a row; `ordinal` is its number among the rows of its source."""
        data = json.dumps(row.to_json(), ensure_ascii=False).encode("utf-8", "surrogatepass")
        self._file.write(data)
        self.start.append(self._at)
        self._at += len(data)
        self.part.append(PARTS.index(part))
        source = sys.intern(row.source)
        if source not in self._files:
            self._files[source] = len(self._names)
            self._names.append(source)
        self.file.append(self._files[source])
        self.line.append(row.line)
        self.ordinal.append(ordinal)
        key, system, answer = prompt_key(row), text.system(row), text.answer(row).strip()
        rejected = text.said(row, "rejected").strip() if isinstance(row, Pair) else ""
        turns = [f"{m['role']}\x1e{m['content'].strip()}" for m in row.prompt]
        self.exact.append(digest(*turns, answer, rejected))
        self.prompt.append(digest(key))
        self.asked.append(digest(key, system))
        self.answer.append(digest(answer))
        self.rejected.append(digest(rejected))
        self.prompt_words.append(len(key.split()) - sum(m["role"] != "system" for m in row.prompt))
        self.answer_words.append(len(answer.split()))
        self.bytes.append(min(len(data), 0xFFFFFFFF))
        return len(self.part) - 1

    def end(self) -> None:
        """Nothing is added from here on."""
        self.start.append(self._at)
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def row(self, number: int) -> Example:
        first = self.start[number]
        data = os.pread(self._file.fileno(), self.start[number + 1] - first, first)
        return _made(data)

    def rows(self, first: int, last: int) -> Iterator[Example]:
        """Rows first to last - 1, by one read."""
        begin = self.start[first]
        data = os.pread(self._file.fileno(), self.start[last] - begin, begin)
        for number in range(first, last):
            yield _made(data[self.start[number] - begin : self.start[number + 1] - begin])

    def where(self, number: int) -> tuple[str, int]:
        return self._names[self.file[number]], self.line[number]

    def column(self, name: str) -> NDArray[np.generic]:
        """A column as numpy sees it, without a copy."""
        values: array[int] = getattr(self, name)
        return np.frombuffer(values, dtype=values.typecode) if len(values) else np.empty(0, "Q")

    def of(self, *parts: str) -> NDArray[np.int64]:
        """Numbers of the rows of these parts, in order."""
        wanted = [PARTS.index(part) for part in parts]
        return np.flatnonzero(np.isin(self.column("part"), wanted))


def _made(data: bytes) -> Example:
    fields = json.loads(data.decode("utf-8", "surrogatepass"))
    return Pair.from_json(fields) if "chosen" in fields else Row.from_json(fields)
