"""From the recipe's data section to train, valid and test rows, with nothing lost on the way."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.data.prepare import Prepared, prepare
from appliance.data.rows import Row
from appliance.data.split import prompt_key, sample, split
from appliance.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


@dataclass
class Columns:
    prompt: str | None = None
    completion: str | None = None


@dataclass
class Data:
    train: str
    test: str | None = None
    form: str = "auto"
    columns: Columns = field(default_factory=Columns)
    system: str | None = None
    limit: int | None = None
    test_limit: int = 200
    test_share: float = 0.1
    valid_share: float = 0.05


def done(data: Data, preference: bool = False, seed: int = 1) -> tuple[Prepared, str]:
    said: list[str] = []
    prepared = prepare(data, preference=preference, seed=seed, say=said.append)
    whole(prepared)
    json.dumps(prepared.facts)
    return prepared, "\n".join(said)


def whole(prepared: Prepared) -> None:
    """Every row read is used, set aside or not sampled."""
    facts = prepared.facts
    for source in (facts["train_source"], facts["test_source"]):
        if source:
            assert source["read"] == source["set_aside"] + source["not_sampled"] + source["used"]
    own = len(prepared.train) + len(prepared.valid)
    own += 0 if facts["test_source"] else len(prepared.test)
    assert own == facts["train_source"]["used"]


def row(prompt: str, answer: str, line: int = 1) -> Row:
    messages = ({"role": "user", "content": prompt}, {"role": "assistant", "content": answer})
    return Row(messages, "f", line)  # type: ignore[arg-type]


def table(path: Path, rows: int, labels: int = 5, start: int = 0) -> Path:
    """A table sorted by label, as real ones often are."""
    each = rows // labels
    lines = [f"question {start + n},label {n // each}" for n in range(rows)]
    path.write_text("text,category\n" + "\n".join(lines) + "\n")
    return path


def test_a_sample_is_seeded_keeps_file_order_and_reaches_every_part() -> None:
    drawn = sample(iter(range(1000)), 100, 3)
    assert drawn == sorted(drawn) == sample(range(1000), 100, 3)
    assert drawn != sample(range(1000), 100, 4)
    assert len(set(drawn)) == 100
    assert min(Counter(n // 250 for n in drawn).values()) > 10
    assert sample(range(5), None, 3) == sample(range(5), 9, 3) == [0, 1, 2, 3, 4]


def test_split_is_exact_seeded_and_spreads_labels() -> None:
    rows = [row(f"q{n}", f"label {n // 40}", n) for n in range(200)]
    train, valid, test = split(rows, 20, 8, 5)
    assert (len(train), len(valid), len(test)) == (172, 8, 20)
    assert Counter(r.answer for r in test) == {f"label {n}": 4 for n in range(5)}
    assert max(Counter(r.answer for r in valid).values()) == 2
    assert sorted(train + valid + test, key=lambda r: r.line) == rows
    assert [part == sorted(part, key=lambda r: r.line) for part in (train, valid, test)] == [
        True
    ] * 3
    assert split(rows, 20, 8, 5) == (train, valid, test)
    assert split(rows, 20, 8, 6) != (train, valid, test)


def test_split_keeps_rows_of_one_prompt_on_one_side() -> None:
    rows = [
        row(f" Question  {n // 4}" if n % 2 else f"question {n // 4}", str(n)) for n in range(80)
    ]
    train, valid, test = split(rows, 20, 8, 5)
    assert (len(train), len(valid), len(test)) == (52, 8, 20)
    keys = [{prompt_key(r) for r in part} for part in (train, valid, test)]
    assert not keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2]


def test_split_never_empties_train() -> None:
    same = [row("q", str(n)) for n in range(10)]
    assert split(same, 5, 2, 1) == (same, [], [])
    train, valid, test = split([row(str(n), "x") for n in range(5)], 99, 99, 1)
    assert (len(train), len(valid), len(test)) == (1, 0, 4)
    assert split([], 5, 5, 1) == ([], [], [])


def test_limit_samples_over_all_labels_of_a_sorted_file(tmp_path: Path) -> None:
    path = table(tmp_path / "all.csv", 1000)
    prepared, said = done(Data(str(path), limit=200))
    labels = Counter(r.answer for r in prepared.train if isinstance(r, Row))
    assert len(labels) == 5
    assert prepared.facts["train_source"]["not_sampled"] == 800
    assert "a sample of 200 of 1000 rows" in said
    assert "columns: text -> prompt, category -> completion" in said


def test_a_broken_row_is_found_even_where_only_a_sample_is_used(tmp_path: Path) -> None:
    path = table(tmp_path / "all.csv", 500)
    path.write_text(path.read_text() + "question,\n")
    with pytest.raises(DataError, match=r"all\.csv:502 has an empty `category`"):
        done(Data(str(path), limit=20))


def test_the_test_file_beside_train_is_used_and_said(tmp_path: Path) -> None:
    path = table(tmp_path / "my_train.csv", 100)
    table(tmp_path / "my_test.csv", 300, start=95)
    prepared, said = done(Data(str(path), test_limit=50, test_share=0.3))
    assert "test rows from my_test.csv beside it" in said
    assert "a sample of 50 of 300 rows" in said
    assert {r.source for r in prepared.test} == {str(tmp_path / "my_test.csv")}
    assert (len(prepared.train), len(prepared.valid), len(prepared.test)) == (92, 8, 50)
    (file,) = prepared.facts["train_source"]["files"]
    assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file["bytes"] == path.stat().st_size


def test_a_folder_with_train_and_test_files_is_not_trained_on_its_test_rows(tmp_path: Path) -> None:
    table(tmp_path / "train-0.csv", 50)
    table(tmp_path / "train-1.csv", 50, start=50)
    table(tmp_path / "test-0.csv", 50, start=100)
    table(tmp_path / "dev.csv", 50, start=150)
    prepared, said = done(Data(str(tmp_path)))
    assert {Path(r.source).name for r in prepared.train} == {"train-0.csv", "train-1.csv"}
    assert {Path(r.source).name for r in prepared.test} == {"test-0.csv"}
    assert "dev.csv" in said


def test_rows_of_a_given_test_file_that_stand_in_train_are_counted(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", 40)
    test = table(tmp_path / "b.csv", 40, start=30)
    prepared, said = done(Data(str(path), test=str(test), valid_share=0))
    assert prepared.facts["test_prompts_also_in_train"] == 10
    assert "10 of 40 test rows have a prompt that also stands in train" in said
    assert (prepared.facts["test_from"], len(prepared.valid)) == ("given", 0)


def test_test_columns_in_another_order_are_those_of_train(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", 40)
    test = tmp_path / "b.csv"
    test.write_text("category,text,note\nlabel 1,new question,x\n")
    prepared, _ = done(Data(str(path), test=str(test), columns=Columns("text", "category")))
    assert prepared.test[0].prompt[0]["content"] == "new question"
    test.write_text("category,text\nlabel 1,new question\n")
    prepared, _ = done(Data(str(path), test=str(test)))
    assert prepared.test[0].prompt[0]["content"] == "new question"


@pytest.mark.parametrize(
    ("rows", "limit", "expected"),
    [(1, 200, 0), (10, 200, 5), (40, 200, 8), (400, 200, 40), (4000, 200, 200), (400, 8, 8)],
)
def test_carved_rows_are_a_share_at_least_eight_and_at_most_the_limit(
    tmp_path: Path, rows: int, limit: int, expected: int
) -> None:
    path = table(tmp_path / "a.csv", rows, labels=1)
    prepared, said = done(Data(str(path), test_limit=limit))
    assert len(prepared.test) == expected
    assert f"{expected} of {rows} rows are held out" in said
    left = rows - expected
    valid = min(max(8 if left >= 80 else 0, round(left * 0.05)), 64)
    assert len(prepared.valid) == valid


def test_set_aside_rows_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    user, answer = {"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}
    lines = [{"messages": [user, answer] + [user] * (n % 2), "meta": n} for n in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prepared, said = done(Data(str(path), system="be"))
    source = prepared.facts["train_source"]
    assert (source["read"], source["set_aside"], source["used"]) == (60, 30, 30)
    assert len(source["set_aside_first"]) == 20
    assert f"{path}:2: the conversation ends with a user turn" in source["set_aside_first"]
    assert "30 rows set aside" in said
    assert "not used of each row: meta" in said
    assert prepared.train[0].prompt[0] == {"role": "system", "content": "be"}
    path.write_text(json.dumps(lines[1]) + "\n")
    with pytest.raises(DataError, match=r"No row of data\.train"):
        done(Data(str(path)))


def test_pairs_are_carved_by_prompt(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    lines = [{"prompt": f"q{n // 2}", "chosen": f"good {n}", "rejected": "bad"} for n in range(200)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prepared, _ = done(Data(str(path)), preference=True)
    assert (len(prepared.test), len(prepared.valid), len(prepared.train)) == (20, 8, 172)
    assert prepared.facts["test_prompts_also_in_train"] == 0
    assert prepared.facts["repeated_prompts_in_train"] == 86
    again, _ = done(Data(str(path)), preference=True)
    assert again == prepared


def test_half_of_the_column_names_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", 40)
    with pytest.raises(DataError, match=r"--set data\.columns\.completion=NAME"):
        done(Data(str(path), columns=Columns(prompt="text")))


def test_a_form_not_recognized_is_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: The form of rows with the keys a "):
        done(Data(str(path)))


@pytest.mark.parametrize("preference", [False, True])
def test_the_embedded_demo_can_be_prepared(preference: bool) -> None:
    prepared, _ = done(Data("demo"), preference=preference)
    assert len(prepared.train) >= 100
    assert len(prepared.test) >= 8
    assert prepared.facts["test_prompts_also_in_train"] == 0


def test_the_real_table_gives_its_own_test_file_and_all_intents() -> None:
    path = SHARED / "banking77" / "train.csv"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    prepared, _ = done(Data(str(path), limit=1500))
    assert prepared.facts["train_source"]["read"] == 10003
    assert prepared.facts["test_source"]["read"] == 3080
    assert len(prepared.test) == 200
    assert len({r.answer for r in prepared.train if isinstance(r, Row)}) == 77
