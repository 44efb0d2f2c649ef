"""Raw rows out of every kind of file, and one sentence for every kind of damage."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.data.forms import SetAside, convert, recognize
from appliance.data.read import locate, read
from appliance.data.rows import Pair, Row, read_pairs, read_rows, write_jsonl
from appliance.errors import DataError

ROWS: list[dict[str, Any]] = [{"text": "one"}, {"text": "zwei – ü"}, {"text": 'th"r,\nee'}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'text\none\nzwei – ü\n"th""r,\nee"\n'


def put(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def refused(source: str | Path) -> DataError:
    with pytest.raises(DataError) as caught:
        list(read(source))
    assert caught.value.exit_code == 2
    assert caught.value.do
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("name", "text", "numbers"),
    [
        ("a.jsonl", JSONL, [1, 2, 3]),
        ("a.ndjson", JSONL, [1, 2, 3]),
        ("a.JSONL", "\n\n" + JSONL, [3, 4, 5]),
        ("crlf.jsonl", JSONL.replace("\n", "\r\n"), [1, 2, 3]),
        ("bom.jsonl", "\ufeff" + JSONL, [1, 2, 3]),
        ("no-last-line-end.jsonl", JSONL.rstrip(), [1, 2, 3]),
        ("list.json", json.dumps(ROWS), [1, 2, 3]),
        ("pretty.json", json.dumps(ROWS, indent=2), [1, 2, 3]),
        ("object.json", json.dumps({"version": 1, "data": ROWS}), [1, 2, 3]),
        ("lines.json", JSONL, [1, 2, 3]),
        ("a.csv", CSV, [2, 3, 4]),
        ("bom.csv", "\ufeff" + CSV, [2, 3, 4]),
        ("a.tsv", CSV, [2, 3, 4]),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_text_ending_gives_the_same_rows(
    tmp_path: Path, name: str, text: str, numbers: list[int], zipped: bool
) -> None:
    data = text.encode()
    path = put(tmp_path / (name + ".gz" * zipped), gzip.compress(data) if zipped else data)
    raws = list(read(path))
    assert [raw.fields for raw in raws] == ROWS
    assert [raw.line for raw in raws] == numbers
    assert {raw.file for raw in raws} == {str(path)}


def test_csv_knows_its_separator_and_counts_lines_over_quoted_line_ends(tmp_path: Path) -> None:
    text = 'id;text\r\n1;"a\r\nb"\r\n\r\n2;c,d\r\n'
    raws = list(read(put(tmp_path / "excel.csv", text)))
    assert [(raw.line, raw.fields) for raw in raws] == [
        (2, {"id": "1", "text": "a\r\nb"}),
        (5, {"id": "2", "text": "c,d"}),
    ]


def test_a_csv_cell_may_be_a_long_document(tmp_path: Path) -> None:
    (raw,) = read(put(tmp_path / "long.csv", "text\n" + "x" * 300_000 + "\n"))
    assert len(raw.fields["text"]) == 300_000


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_parquet_gives_rows_with_nested_values(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "a"}], "n": 1}]
    (raw,) = read(parquet(tmp_path / "a.parquet", rows))
    assert (raw.fields, raw.line) == (rows[0], 1)


@pytest.mark.parametrize("keep", [0, 3, 200, -20])
def test_a_cut_parquet_file_is_said_to_be_cut_or_empty(tmp_path: Path, keep: int) -> None:
    path = parquet(tmp_path / "a.parquet", [{"text": str(n)} for n in range(500)])
    put(path, path.read_bytes()[:keep])
    said = str(refused(path))
    assert "a.parquet" in said
    assert ("empty" if keep == 0 else "cut or damaged") in said


def test_a_parquet_file_damaged_inside_is_refused_or_read(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [{"text": f"row {n}"} for n in range(500)])
    whole = path.read_bytes()
    for place in range(4, len(whole), max(1, len(whole) // 40)):
        put(path, whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            list(read(path))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.jsonl", b"\n \n", "a.jsonl is empty"),
        ("a.json", b"", "a.json is empty"),
        ("a.json", b"[]", "a.json is empty"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"text,label\n", "a.csv is empty"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl:2 is not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n{"a": "x\n', "a.jsonl:2 is not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n\n[1]\n', "a.jsonl:3 is a list, not a JSON object"),
        ("a.jsonl", b"null\n", "a.jsonl:1 is null, not a JSON object"),
        ("a.jsonl", b'[{"a": 1}]\n', "name it .json"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1 is not usable JSON (nested too deep)"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", "a.jsonl:1 is not usable JSON"),
        ("a.jsonl", b'{"a": "\\ud83d"}\n', "a.jsonl:1 holds half of a surrogate pair"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe4"}\n', "a.jsonl:2 is not UTF-8 (byte 0xe4"),
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), "a.jsonl:1 is not UTF-8 (it looks like UTF-16)"),
        ("a.jsonl", b'{"a": 1}\n\0\0\0\n', "a.jsonl:2 holds NUL bytes"),
        ("a.csv", b"text,label\na,b\nc\xff,d\n", "a.csv:3 is not UTF-8"),
        ("a.csv", b"text,label\na,b\nc,\0\n", "a.csv:3 holds NUL bytes"),
        ("a.csv", b"text,label\na,b\nc,d,e\n", "a.csv:3 has 3 fields where the header has 2"),
        ("a.csv", b'text,label\n"a\n",b\nc\n', "a.csv:4 has 1 fields where the header has 2"),
        ("a.csv", b'text,label\na,b\nc,"d\ne,f\n', "a.csv:3 is not valid CSV"),
        ("a.csv", b"text,label\ra,b\rc,d\r", "a.csv:1 is not valid CSV"),
        ("a.csv", b"text,text\na,b\n", "a.csv:1 has the column 'text' twice"),
        ("a.json", b'[{"a": 1},\n{"a": }]', "a.json:2 is not valid JSON"),
        ("a.json", b'[{"a": 1}, 7]', "a.json:2 is a number, not a JSON object"),
        ("a.json", b'{"a": [], "b": []}', "a.json is an object with 2 lists"),
        ("a.json", b'"text"', "a.json is text, not a list of rows"),
        ("a.json", b'{"a": 1}\n{"a": \n', "a.json:2 is not valid JSON"),
        ("a.jsonl.gz", b'{"a": 1}\n', "a.jsonl.gz is not a whole gzip file"),
        (
            "a.jsonl.gz",
            gzip.compress(JSONL.encode() * 99, mtime=0)[:-9],
            "is not a whole gzip file",
        ),
        ("a.txt", b"x", "a.txt has an ending that is not known. Give a file of .jsonl"),
        ("a.parquet.gz", b"x", "ending that is not known"),
    ],
)
def test_damage_is_named_with_file_and_line(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    assert says in str(refused(put(tmp_path / name, data)))


def test_a_missing_file_is_named_with_its_near_ones(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", JSONL)
    assert "Did you mean train.jsonl?" in str(refused(tmp_path / "trian.jsonl"))
    assert "no folder" in str(refused(tmp_path / "nowhere" / "train.jsonl"))
    assert "There is no file" in str(refused("x" * 5000))
    assert "There is no file" in str(refused("a\0b"))


def test_a_folder_is_read_in_order_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        put(tmp_path / name, f'{{"from": "{name}"}}\n')
    put(tmp_path / "README.md", "words")
    (tmp_path / "deeper").mkdir()
    assert [raw.fields["from"] for raw in read(tmp_path)] == ["a.jsonl", "b.jsonl"]
    assert locate(tmp_path).ignored == ("README.md", "deeper")


def test_a_folder_without_data_names_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path / "notes.txt", "words")
    assert "holds no data file (it holds notes.txt)" in str(refused(tmp_path))


@pytest.mark.parametrize(
    "name", ["data/train.csv", "tests/nothing", "plain", "/abs/olute", "a/b/c"]
)
def test_what_cannot_be_a_hub_id_is_a_missing_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "There is no file" in str(refused(name))


def fake_hub(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    module = ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)


class Table(list[dict[str, Any]]):
    features: ClassVar = {"text": SimpleNamespace(), "label": SimpleNamespace(names=["no", "yes"])}


@pytest.mark.parametrize(
    ("source", "split"), [("owner/name", "train"), ("owner/na.me:test[:5%]", "test[:5%]")]
)
def test_a_hub_id_is_loaded_with_its_split_and_classes_become_names(
    monkeypatch: pytest.MonkeyPatch, source: str, split: str
) -> None:
    asked = []

    def load(name: str, split: str) -> Table:
        asked.append((name, split))
        return Table([{"text": "a", "label": 1}])

    fake_hub(monkeypatch, load)
    (raw,) = read(source)
    assert raw.fields == {"text": "a", "label": "yes"}
    assert asked == [(source.split(":", 1)[0], split)]


def test_a_hub_out_of_reach_says_to_give_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, split: str) -> Table:
        raise ConnectionError("Couldn't reach the hub.\nlong traceback")

    fake_hub(monkeypatch, load)
    said = str(refused("owner/name"))
    assert "Couldn't reach the hub" in said
    assert "give the file instead" in said


MESSAGES = ({"role": "user", "content": "q ü"}, {"role": "assistant", "content": "a\u2028b"})
SOUND = json.dumps({"messages": MESSAGES}).encode() + b"\n"


def test_rows_and_pairs_come_back_as_they_were_written(tmp_path: Path) -> None:
    row = Row(MESSAGES, "f", 3)  # type: ignore[arg-type]
    pair = Pair(row.prompt, row.messages[1:], ({"role": "assistant", "content": "b"},), "f", 4)
    write_jsonl(tmp_path / "r.jsonl", [row])
    write_jsonl(tmp_path / "p.jsonl", [pair])
    write_jsonl(tmp_path / "none.jsonl", [])
    assert read_rows(tmp_path / "r.jsonl") == [row]
    assert read_pairs(tmp_path / "p.jsonl") == [pair]
    assert read_rows(tmp_path / "none.jsonl") == []
    assert row.answer == "a\u2028b"
    with pytest.raises(DataError, match=r"p\.jsonl:1 is not a row that the appliance wrote"):
        read_rows(tmp_path / "p.jsonl")


@settings(max_examples=150, deadline=None, database=None)
@given(
    at=st.integers(0, len(SOUND) * 3),
    cut=st.integers(0, 30),
    put_in=st.one_of(
        st.binary(max_size=12), st.sampled_from([b'"', b"{", b"\\ud800", b"\n", b"null"])
    ),
)
def test_damaged_jsonl_gives_rows_or_a_data_error(at: int, cut: int, put_in: bytes) -> None:
    whole = SOUND * 3
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder) / "a.jsonl", whole[:at] + put_in + whole[at + cut :])
        with contextlib.suppress(DataError):
            raws = list(read(path))
            form = recognize(raws[0].fields, preference=False)
            made = [convert(raw, form) for raw in raws]
            assert all(isinstance(row, Row | SetAside) for row in made)
            good = [row for row in made if isinstance(row, Row)]
            write_jsonl(Path(folder) / "b.jsonl", good)
            assert read_rows(Path(folder) / "b.jsonl") == good


def test_importing_the_data_package_brings_no_heavy_library() -> None:
    code = (
        "import sys, appliance.data.prepare; "
        "print([m for m in ('torch', 'pyarrow', 'datasets', 'pydantic') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
