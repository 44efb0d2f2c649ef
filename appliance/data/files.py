"""Raw rows out of one file: JSONL, JSON, CSV, TSV or Parquet, the text ones also gzipped.

Whatever is wrong with a file becomes a DataError that names the line; what a library raised is
kept only as its cause.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from appliance.errors import DataError

# One cell may hold a whole document; csv's own limit is 128 KiB.
_CELL = 64 << 20
_MEND = "Mend or remove that line."


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as it stands. `line` counts from 1: lines of text files, rows of JSON and Parquet."""

    fields: dict[str, Any]
    file: str
    line: int


def ending(path: Path) -> str | None:
    """The ending that decides the reader (`.jsonl`, also of `x.jsonl.gz`); None when unknown."""
    name = path.name.lower()
    zipped = name.endswith(".gz")
    known = Path(name.removesuffix(".gz")).suffix
    return known if known in READERS and not (zipped and known == ".parquet") else None


def read_file(path: Path) -> Iterator[Raw]:
    """Every row of a file of known ending. Raises DataError, also when there are none."""
    found = ending(path)
    if found is None:
        raise DataError(f"{path} has an ending that is not known.", f"Give a file of {KNOWN}.")
    none = True
    for raw in READERS[found](path):
        none = False
        yield raw
    if none:
        raise DataError(f"{path} is empty: it holds no rows.", "Give a file with rows.")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of UTF-8 text, line ends kept, a byte order mark dropped."""
    try:
        with _open(path) as handle:
            for number, data in enumerate(handle, 1):
                yield number, _decode(data, path, number)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is not a whole gzip file ({error}).", "Copy or download it again."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}).", "Check the path and its rights."
        ) from error


def _open(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _decode(data: bytes, path: Path, number: int) -> str:
    if number == 1:
        data = data.removeprefix(b"\xef\xbb\xbf")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(
                f"{path}:1 is not UTF-8 (it looks like UTF-16).",
                "Save the file as UTF-8, for example with `iconv -f UTF-16 -t UTF-8`.",
            )
    if b"\0" in data:
        raise DataError(
            f"{path}:{number} holds NUL bytes, so it is not text.",
            "The file is damaged or binary: copy it again.",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number} is not UTF-8 (byte 0x{data[error.start]:02x} at position "
            f"{error.start + 1}).",
            "Save the file as UTF-8, for example with `iconv -f WINDOWS-1252 -t UTF-8`.",
        ) from error


def _parse(text: str, path: Path, first: int, do: str) -> Any:
    """JSON whose first line is line `first` of the file."""
    try:
        value = json.loads(text)
        if "\\u" in text:
            # Half of a surrogate pair is legal JSON, and cannot be written as UTF-8 later.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}:{first} holds half of a surrogate pair (a \\uD800 to \\uDFFF escape).", do
        ) from error
    except json.JSONDecodeError as error:
        line = first + error.lineno - 1
        raise DataError(
            f"{path}:{line} is not valid JSON ({error.msg}, column {error.colno}).", do
        ) from error
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else "a number too long"
        raise DataError(f"{path}:{first} is not usable JSON ({why}).", do) from error


def read_jsonl(path: Path) -> Iterator[Raw]:
    for number, text in lines(path):
        text = text.strip()
        if not text:
            continue
        do = _MEND
        if number == 1 and text.startswith("["):
            do = "If the whole file is one JSON list, name it .json."
        value = _parse(text, path, number, do)
        yield _object(value, path, number, do)


def _object(value: Any, path: Path, number: int, do: str = _MEND) -> Raw:
    if not isinstance(value, dict):
        raise DataError(f"{path}:{number} is {kind(value)}, not a JSON object.", do)
    return Raw(value, str(path), number)


def read_json(path: Path) -> Iterator[Raw]:
    """A list of objects, or an object in which one value is such a list."""
    text = "".join(line for _, line in lines(path)).strip()
    if not text:
        return
    if _is_jsonl(text):
        yield from read_jsonl(path)
        return
    value = _parse(text, path, 1, "Mend the file there.")
    if isinstance(value, dict):
        lists = [key for key, inner in value.items() if isinstance(inner, list)]
        if len(lists) != 1:
            raise DataError(
                f"{path} is an object with {len(lists)} lists in it, so its rows are not known.",
                'Write one list of rows, or {"data": [rows]}.',
            )
        value = value[lists[0]]
    if not isinstance(value, list):
        raise DataError(f"{path} is {kind(value)}, not a list of rows.", "Write one list of rows.")
    for number, item in enumerate(value, 1):
        yield _object(item, path, number, "Mend or remove that row.")


def _is_jsonl(text: str) -> bool:
    """Many files named .json hold one object a line."""
    first, _, rest = text.partition("\n")
    if not rest.strip() or not first.startswith("{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def read_csv(path: Path) -> Iterator[Raw]:
    records = _records(path)
    header = next(records, None)
    if header is None:
        return
    names = [name.strip() for name in header[1]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path}:{header[0]} has the column {twice!r} twice in its header.",
            "Give every column its own name.",
        )
    for number, cells in records:
        if len(cells) != len(names):
            raise DataError(
                f"{path}:{number} has {len(cells)} fields where the header has {len(names)} "
                f"({', '.join(names)[:120]}).",
                "Put quotes round a field that holds the separator or a line end.",
            )
        yield Raw(dict(zip(names, cells, strict=True)), str(path), number)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, cells) of every record; blank lines left out."""
    csv.field_size_limit(_CELL)
    texts = (text for _, text in lines(path))
    # strict: a quote that is never closed is an error, not one giant cell.
    reader = csv.reader(texts, delimiter=_separator(path), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}:{start} is not valid CSV ({error}).",
                'Close every quote, double a quote inside a field (""), end lines with LF or CRLF.',
            ) from error
        if cells:
            yield start, cells


def _separator(path: Path) -> str:
    """Tab for .tsv. For .csv a comma, unless the header has none: Excel writes ; in half Europe."""
    if ending(path) == ".tsv":
        return "\t"
    header = next((text for _, text in lines(path) if text.strip()), "")
    return next((mark for mark in ",;\t" if mark in header), ",")


def read_parquet(path: Path) -> Iterator[Raw]:
    import pyarrow.parquet

    number = 0
    try:
        if path.stat().st_size == 0:
            return
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(1024):
                for fields in batch.to_pylist():
                    number += 1
                    yield Raw(fields, str(path), number)
    except Exception as error:  # Damaged pages come out as many kinds of error.
        where = f" after row {number}" if number else ""
        raise DataError(
            f"{path} is not a whole Parquet file{where} ({brief(error)}).",
            "It is cut or damaged: copy or download it again.",
        ) from error


def brief(error: BaseException) -> str:
    """The first line of what a library says, without its full stop."""
    said = str(error).strip().splitlines()
    return (said[0] if said else type(error).__name__)[:160].rstrip(". ")


def kind(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "an object", bytes: "bytes"}
    return names.get(type(value), f"of type {type(value).__name__}")


READERS: dict[str, Callable[[Path], Iterator[Raw]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}
KNOWN = ".jsonl, .ndjson, .json, .csv, .tsv (each also .gz) or .parquet"
