"""Rows for an audit: out of any data that the appliance reads, or out of a run.

Here a broken row is a finding and not the end, so that one reading names all of them. A file that
is damaged as a whole is still refused, with its line.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from appliance.data.audit.run import Broken, Item, Part
from appliance.data.files import Raw, read_jsonl
from appliance.data.forms import ColumnNames, Form, convert, recognize
from appliance.data.read import Located, read_located
from appliance.data.rows import Pair, Row
from appliance.data.sources import choose
from appliance.errors import DataError

_BLOCK = 1 << 20


def preference(data: Any) -> bool:
    """Whether the rows are preference pairs, by the first of them."""
    for pairs in (False, True):
        try:
            (_, located), _, _ = choose(data.train, data.test, pairs)
            first = next(read_located(located))
            _form(data, first, None, pairs)
            return pairs
        except DataError as error:
            refused = error
    # What is wrong is said better by the reader of plain answers, unless pairs were meant.
    raise refused


def parts(data: Any, pairs: bool) -> tuple[list[Part], Form, Located]:
    """(train, and test where there is one; the form; where train is). Raises DataError."""
    train, test, _ = choose(data.train, data.test, pairs)
    form, rows = _items(data, train[1], None, pairs)
    made = [Part("train", rows, expected(train[1]))]
    if test is not None:
        _, held = _items(data, test[1], form, pairs)
        made.append(Part("test", held, expected(test[1])))
    return made, form, train[1]


def of_run(files: dict[str, Path], pairs: bool) -> list[Part]:
    """The rows that a run holds, with the file and line that they came from."""
    kind = Pair if pairs else Row

    def items(path: Path) -> Iterator[Item]:
        for raw in read_jsonl(path):
            yield kind.from_json(raw.fields)

    return [Part(name, items(path), _lines(path)) for name, path in files.items() if path.is_file()]


def _items(
    data: Any, located: Located, like: Form | None, pairs: bool
) -> tuple[Form, Iterator[Item]]:
    raws = read_located(located)
    first = next(raws, None)
    if first is None:
        raise DataError("The data holds no rows.", "Give data with rows.")
    form = _form(data, first, like, pairs)

    def items() -> Iterator[Item]:
        for raw in chain([first], raws):
            yield item(raw, form, data.system)

    return form, items()


def item(raw: Raw, form: Form, system: str | None) -> Item:
    """The example in a row, or why there is none."""
    try:
        return convert(raw, form, system)
    except DataError as error:
        reason = error.what.removeprefix(f"{raw.file}:{raw.line} ").rstrip(".")
        return Broken(raw.file, raw.line, reason)


def _form(data: Any, first: Raw, like: Form | None, pairs: bool) -> Form:
    prompt, completion = data.columns.prompt, data.columns.completion
    columns = ColumnNames(prompt, completion) if prompt and completion else None
    try:
        form = recognize(first.fields, preference=pairs, columns=columns, name=data.form)
    except DataError as error:
        raise DataError(f"{first.file}:{first.line}: {error.what}", error.do) from error
    names = like.columns if like else None
    if names and {names.prompt, names.completion} <= first.fields.keys():
        return replace(form, name="columns", columns=names)
    return form


def expected(located: Located) -> int:
    """About how many rows there are, for the bar: lines, where a file has lines."""
    return sum(_lines(path) for path in located.files)


def _lines(path: Path) -> int:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return int(pyarrow.parquet.read_metadata(path).num_rows)
        if path.suffix == ".gz":
            # Counting would unpack it twice: packed text is about a fifth of itself.
            with gzip.open(path, "rb") as unpacked:
                head = unpacked.read(_BLOCK)
            share = min(1.0, len(head) / max(5 * os.path.getsize(path), 1))
            return round(head.count(b"\n") / max(share, 1e-9))
        with path.open("rb") as handle:
            return sum(block.count(b"\n") for block in iter(lambda: handle.read(_BLOCK), b""))
    except Exception:  # what is wrong with the file is said when it is read
        return 0
