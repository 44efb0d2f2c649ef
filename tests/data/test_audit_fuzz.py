"""A thousand damaged files: each one is refused with its name, or audited with every row in it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.data.audit.run import Audit, Policy
from appliance.data.audit.source import parts, preference
from appliance.data.read import read
from appliance.errors import DataError
from appliance.recipe import load

FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [{"role": "user", "content": "Where is it?"},
                              {"role": "assistant", "content": "on the way"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "Where is it?"},
                                   {"from": "gpt", "value": "on the way"}]},
    "alpaca": {"instruction": "Say where", "input": "it", "output": "on the way"},
    "prompt_completion": {"prompt": "Where is it?", "completion": "on the way"},
    "columns": {"text": "Where is it, ü?", "label": "way"},
    "preference": {"prompt": "Where is it?", "chosen": "on the way", "rejected": "no idea"},
    "dialogue_pairs": {"chosen": "\n\nHuman: Where?\n\nAssistant: on the way",
                       "rejected": "\n\nHuman: Where?\n\nAssistant: no idea"},
}  # fmt: skip
FLAT = ("alpaca", "prompt_completion", "columns", "preference", "dialogue_pairs")
ENDINGS = ("jsonl", "ndjson", "json", "csv", "tsv", "parquet", "jsonl.gz", "csv.gz")
WRONG = [
    None,
    3,
    1.5,
    True,
    [],
    {},
    "",
    "  ",
    [[]],
    [1, "x"],
    {"a": {"b": []}},
    "\ud800",
    "🙂",
    "\x00",
]
DAMAGES = (
    "none", "cut", "encoding", "nul", "nested", "types", "keys", "mixed", "huge", "bom", "utf-16",
    "crlf", "cr", "bytes", "twice", "empty", "blank", "brackets",
)  # fmt: skip


class Silent:
    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, steps: int = 1, note: str | None = None) -> None: ...


def damage_row(row: Any, how: str, draw: random.Random) -> Any:
    row = json.loads(json.dumps(row))
    key = draw.choice(list(row))
    inner = row[key][draw.randrange(len(row[key]))] if isinstance(row[key], list) else None
    if how == "types":
        target, name = (
            (inner, draw.choice(list(inner))) if inner and draw.random() < 0.6 else (row, key)
        )
        target[name] = draw.choice(WRONG)
    elif how == "keys":
        row[draw.choice(["x", "system", "role", ""])] = row.pop(key)
    elif how == "nested":
        row[key] = [[row[key]]] if draw.random() < 0.5 else {"messages": row[key]}
        if draw.random() < 0.3:
            row["deep"] = draw.choice((50, 3000))
    elif how == "huge":
        row[key] = "word " * 60_000 if isinstance(row[key], str) else row[key] * 5000
    elif how == "mixed":
        row = dict(draw.choice(list(FORMS.values())))
    return row


def as_bytes(rows: list[Any], ending: str) -> bytes:
    kind = ending.removesuffix(".gz")
    if kind in ("jsonl", "ndjson"):
        data = "".join(deep_json(row) + "\n" for row in rows).encode("utf-8", "surrogatepass")
    elif kind == "json":
        data = ("[" + ",\n".join(map(deep_json, rows)) + "]").encode("utf-8", "surrogatepass")
    elif kind == "parquet":
        data = as_parquet(rows)
    else:
        text = io.StringIO()
        names = list(rows[0]) if rows else ["text", "label"]
        writer = csv.writer(text, delimiter="\t" if kind == "tsv" else ",")
        writer.writerow(names)
        for row in rows:
            cells = [row.get(name, "") for name in names] + [
                v for k, v in row.items() if k not in names
            ]
            writer.writerow([cell if isinstance(cell, str) else str(cell)[:5000] for cell in cells])
        data = text.getvalue().encode("utf-8", "surrogatepass")
    return gzip.compress(data) if ending.endswith(".gz") else data


def deep_json(value: Any) -> str:
    """JSON in which `deep` is so many lists inside one another."""
    if "deep" not in value:
        return json.dumps(value, ensure_ascii=False)
    rest = json.dumps({key: inner for key, inner in value.items() if key != "deep"})
    depth = value["deep"]
    return f'{rest[:-1]}, "deep": {"[" * depth}1{"]" * depth}}}'


def as_parquet(rows: list[Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    try:
        table = pyarrow.Table.from_pylist(
            [{k: v for k, v in r.items() if k != "deep"} for r in rows]
        )
    except (pyarrow.ArrowException, UnicodeError, TypeError):
        table = pyarrow.table({"text": [str(row)[:50].encode("ascii", "replace") for row in rows]})
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


def damage_bytes(data: bytes, how: str, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    match how:
        case "cut":
            return data[:place]
        case "encoding":
            return data[:place] + bytes([draw.choice((0x80, 0xE9, 0xFF, 0xC3))]) + data[place:]
        case "nul":
            return data[:place] + b"\0" * draw.choice((1, 40)) + data[place:]
        case "bytes":
            junk = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 9)))
            return data[:place] + junk + data[place + draw.randrange(9) :]
        case "twice":
            return data + data[: draw.randrange(len(data) + 1)]
        case "brackets":
            sign = draw.choice((b"{", b"}", b"[", b"]", b'"', b",", b"\\", b"\n"))
            return data[:place] + sign + data[place:]
        case "bom":
            return b"\xef\xbb\xbf" + data
        case "utf-16":
            return data.decode("utf-8", "replace").encode("utf-16")
        case "crlf":
            return data.replace(b"\n", b"\r\n")
        case "cr":
            return data.replace(b"\n", b"\r")
        case "empty":
            return b""
        case "blank":
            return b"\n  \n\n" if draw.random() < 0.5 else data.replace(b"\n", b"\n\n \n")
    return data


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes, bool]:
    """(ending, the file, whether the recipe wants pairs)."""
    ending = draw(st.sampled_from(ENDINGS))
    table = ending.split(".")[0] in ("csv", "tsv")
    form = draw(st.sampled_from(FLAT if table else tuple(FORMS)))
    count, how = draw(st.integers(0, 6)), draw(st.lists(st.sampled_from(DAMAGES), max_size=2))
    chance = random.Random(draw(st.integers(0, 2**32)))
    rows = [json.loads(json.dumps(FORMS[form]).replace("way", f"way {n}")) for n in range(count)]
    # A row is damaged once: huge twice over would be 25 million parts.
    for name, place in zip(how, chance.sample(range(count), min(count, len(how))), strict=False):
        rows[place] = damage_row(rows[place], name, chance)
    data = as_bytes(rows, ending)
    for name in how:
        data = damage_bytes(data, name, chance)
    return ending, data, form in ("preference", "dialogue_pairs")


@pytest.mark.slow
@settings(
    max_examples=1000,
    deadline=None,
    database=None,
    derandomize=True,  # the same thousand files everywhere
    suppress_health_check=list(HealthCheck),
)
@given(damaged())
def test_a_damaged_file_is_refused_with_its_name_or_audited_whole(
    case: tuple[str, bytes, bool],
) -> None:
    ending, data, _ = case
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"rows.{ending}"
        path.write_bytes(data)
        recipe = load("sft", [f"data.train={path}"])
        try:
            made, _, _ = parts(recipe.data, preference(recipe.data))
            with Audit(Policy(), progress=lambda *_: Silent()) as audit:  # type: ignore[arg-type,return-value]
                found = audit.run(made)
        except DataError as error:
            refused = error
        else:
            whole(found, path)
            return
        assert refused.exit_code == 2
        assert refused.do
        assert "\n" not in refused.what
        assert str(path) in refused.what


def whole(found: dict[str, Any], path: Path) -> None:
    """Every row of the file is used, or set aside and told."""
    json.dumps(found).encode()
    rows = found["rows"]
    assert rows["read"] == sum(1 for _ in read(path))
    assert rows["read"] == rows["train"] + rows["broken"] + rows["set_aside"]
    told = {item["kind"]: item["rows"] for item in found["findings"]}
    assert told.get("broken_rows", 0) == rows["broken"]
    assert told.get("set_aside", 0) + told.get("same_pair", 0) >= rows["set_aside"]


def test_the_rows_of_a_lines_file_are_all_its_lines(tmp_path: Path) -> None:
    """Counted without any reader of ours."""
    path = tmp_path / "a.jsonl"
    draw = random.Random(5)
    lines = []
    for n in range(400):
        row = damage_row(FORMS["messages"], draw.choice(("types", "keys", "mixed", "none")), draw)
        line = json.dumps(row)
        if "\\ud800" not in line and "\\u0000" not in line:
            lines.append(line if n else json.dumps(FORMS["messages"]))
    path.write_text("\n".join(lines) + "\n")
    recipe = load("sft", [f"data.train={path}"])
    made, _, _ = parts(recipe.data, False)
    with Audit(Policy(), progress=lambda *_: Silent()) as audit:  # type: ignore[arg-type,return-value]
        rows = audit.run(made)["rows"]
    assert rows["read"] == len(path.read_bytes().splitlines()) == len(lines)
    assert rows["read"] == rows["train"] + rows["broken"] + rows["set_aside"]
    assert rows["broken"] > 20
