"""Every form of row is recognized, said aloud and converted, or refused with file and line."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from appliance.data.files import Raw
from appliance.data.forms import ColumnNames, Form, SetAside, convert, describe, recognize
from appliance.data.read import read
from appliance.data.rows import Message, Pair, Row
from appliance.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def u(content: str) -> Message:
    return {"role": "user", "content": content}


def a(content: str) -> Message:
    return {"role": "assistant", "content": content}


def s(content: str) -> Message:
    return {"role": "system", "content": content}


def made(fields: dict[str, Any], preference: bool = False, **known: Any) -> Any:
    system = known.pop("system", None)
    form = recognize(fields, preference=preference, **known)
    return convert(Raw(fields, "f.jsonl", 7), form, system)


def refused(fields: dict[str, Any], preference: bool = False, **known: Any) -> str:
    with pytest.raises(DataError) as caught:
        made(fields, preference, **known)
    assert caught.value.do
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        ({"messages": [u("q"), a("x")]}, "messages", [u("q"), a("x")]),
        ({"messages": [s("  "), u("q"), a("x")]}, "messages", [u("q"), a("x")]),
        ({"messages": [u("q"), a("x")], "system": "be"}, "messages", [s("be"), u("q"), a("x")]),
        (
            {
                "conversations": [
                    {"from": "system", "value": "s"},
                    {"from": "human", "value": "q"},
                    {"from": "gpt", "value": "x"},
                    {"from": "user", "value": "r"},
                    {"from": "assistant", "value": "y"},
                ]
            },
            "sharegpt",
            [s("s"), u("q"), a("x"), u("r"), a("y")],
        ),
        ({"instruction": "do", "input": "it", "output": "x"}, "alpaca", [u("do\n\nit"), a("x")]),
        ({"instruction": "do", "input": "", "output": "x"}, "alpaca", [u("do"), a("x")]),
        ({"instruction": "do", "input": None, "output": "x"}, "alpaca", [u("do"), a("x")]),
        ({"instruction": "do", "output": "x"}, "alpaca", [u("do"), a("x")]),
        ({"prompt": "q", "completion": " x\n"}, "prompt_completion", [u("q"), a("x")]),
        ({"prompt": "q", "completion": "    x"}, "prompt_completion", [u("q"), a("    x")]),
        (
            {"prompt": [s("s"), u("q")], "completion": [a("x")]},
            "prompt_completion",
            [s("s"), u("q"), a("x")],
        ),
        ({"text": "q", "category": "x"}, "columns", [u("q"), a("x")]),
        ({"label": "x", "text": "q"}, "columns", [u("q"), a("x")]),
        ({"": "0", "id": "k1", "ask": "q", "tell": "x", "n": 4}, "columns", [u("q"), a("x")]),
    ],
)
def test_sft_forms_become_messages(
    fields: dict[str, Any], name: str, expected: list[Message]
) -> None:
    assert recognize(fields, preference=False).name == name
    assert made(fields) == Row(tuple(expected), "f.jsonl", 7)
    assert made(fields, name=name) == made(fields)


INSIDE = {"chosen": [u("q"), a("good")], "rejected": [u("q"), a("bad")]}
HH = "\n\nHuman: q\n\nAssistant:"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, "preference"),
        ({"prompt": [u("q")], "chosen": [a("good")], "rejected": [a("bad")]}, "preference"),
        (INSIDE, "preference"),
        ({"prompt": "q", **INSIDE, "messages": [u("q"), a("good")]}, "preference"),
        ({"chosen": HH + " good", "rejected": HH + " bad"}, "dialogue_pairs"),
        ({"prompt": HH, "chosen": " good", "rejected": " bad"}, "dialogue_pairs"),
        ({"prompt": HH, "chosen": HH + " good", "rejected": HH + " bad"}, "dialogue_pairs"),
    ],
)
def test_preference_forms_become_pairs(fields: dict[str, Any], name: str) -> None:
    assert recognize(fields, preference=True).name == name
    assert made(fields, True) == Pair((u("q"),), (a("good"),), (a("bad"),), "f.jsonl", 7)
    assert made(fields, True, system="be").prompt == (s("be"), u("q"))


def test_the_system_prompt_of_the_recipe_is_only_for_rows_without_one() -> None:
    assert made({"prompt": "q", "completion": "x"}, system="be").messages[0] == s("be")
    assert made({"messages": [s("own"), u("q"), a("x")]}, system="be").messages[0] == s("own")
    kept = made({"prompt": [s("own"), u("q")], **INSIDE}, True, system="be")
    assert kept.prompt == (s("own"), u("q"))


def test_named_columns_win_and_numbers_are_labels() -> None:
    fields = {"prompt": "p", "completion": "c", "stars": 4.0, "review": "r"}
    names = ColumnNames("review", "stars")
    assert made(fields, columns=names).messages == (u("r"), a("4"))
    form = recognize(fields, preference=False, columns=names)
    assert describe(form) == "columns: review -> prompt, stars -> completion"
    assert form.unused == ("prompt", "completion")


@pytest.mark.parametrize("name", ["messages", "sharegpt", "alpaca", "prompt_completion"])
def test_every_form_is_described_in_one_line(name: str) -> None:
    assert describe(Form(name)).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("fields", "preference", "known", "says"),
    [
        ({"a": 1, "b": [], "c": "x"}, False, {}, "with the keys a, b, c is not known"),
        ({"a": "x", "b": "y", "c": "z"}, False, {}, "--set data.columns.prompt=NAME"),
        ({"a": "x", "b": "y", "c": "z"}, False, {}, "--set data.form="),
        ({"label": "x", "stuff": "y"}, False, {}, "is not known"),
        ({}, False, {}, "(none)"),
        (INSIDE, False, {}, "Use the recipe `dpo`"),
        ({"prompt": "q", "chosen": "x", "rejected": "y"}, False, {}, "Use the recipe `dpo`"),
        ({"prompt": "q", "completion": "x"}, True, {}, "Use the recipe `sft`"),
        ({"text": "q", "category": "x"}, True, {}, "Use the recipe `sft`"),
        ({"chosen": "x", "rejected": "y"}, True, {}, "a row needs prompt, chosen and rejected"),
        ({"a": "x"}, False, {"name": "alpacca"}, "Did you mean alpaca?"),
        ({"a": "x"}, False, {"name": "preference"}, "Use the recipe `dpo`"),
        ({"a": "x"}, True, {"name": "alpaca"}, "Use the recipe `sft`"),
        ({"txt": "x"}, False, {"columns": ColumnNames("text", "y")}, "Did you mean txt?"),
        ({"text": "x"}, True, {"columns": ColumnNames("text", "y")}, "Leave data.columns out"),
    ],
)
def test_what_is_not_recognized_is_refused_with_the_way_out(
    fields: dict[str, Any], preference: bool, known: dict[str, Any], says: str
) -> None:
    assert says in refused(fields, preference, **known)


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("messages", {}, "has no `messages`"),
        ("messages", {"messages": "hi"}, "text, not a list of messages"),
        ("messages", {"messages": []}, "has no messages"),
        ("messages", {"messages": [u("q")]}, "no assistant turn"),
        ("messages", {"messages": [a("x")]}, "no user turn"),
        ("messages", {"messages": [u("q"), a(" ")]}, "empty `messages` turn 2 (assistant)"),
        ("messages", {"messages": [u("q"), {"role": "tool", "content": "x"}]}, "role 'tool'"),
        ("messages", {"messages": [u("q"), {"role": ["x"], "content": "x"}]}, "known: system"),
        ("messages", {"messages": [u("q"), {"role": "assistant"}]}, "content is null, not text"),
        ("messages", {"messages": [u("q"), "x"]}, "turn 2 that is text, not an object"),
        ("messages", {"messages": [u("q"), s("x"), a("x")]}, "only the first turn may be one"),
        ("sharegpt", {"conversations": 3}, "a number, not a list"),
        ("alpaca", {"instruction": "x"}, "has no `output`"),
        ("alpaca", {"instruction": "x", "output": "  "}, "empty `output`"),
        ("alpaca", {"instruction": "x", "input": 3, "output": "y"}, "`input` that is a number"),
        ("prompt_completion", {"prompt": None, "completion": "x"}, "`prompt` that is null"),
        ("prompt_completion", {"prompt": "q", "completion": [u("x")]}, "not the assistant's"),
        ("preference", {"prompt": "q", "chosen": "x"}, "has no `rejected`"),
        ("preference", {"prompt": "", "chosen": "x", "rejected": "y"}, "has no prompt"),
        ("preference", {"prompt": "q", "chosen": "", "rejected": "y"}, "empty `chosen`"),
        ("preference", {"prompt": "other", **INSIDE}, "do not begin"),
        ("dialogue_pairs", {"chosen": "x", "rejected": HH}, "does not begin with `Human:`"),
        ("dialogue_pairs", {"chosen": 3, "rejected": HH}, "a number, not a dialogue"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(
    name: str, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError) as caught:
        convert(Raw(fields, "f.jsonl", 7), Form(name))
    assert str(caught.value).startswith("f.jsonl:7 has ")
    assert says in str(caught.value)


@pytest.mark.parametrize("value", [None, "", float("nan")])
def test_a_missing_label_is_refused_with_file_and_line(value: Any) -> None:
    form = Form("columns", ColumnNames("text", "label"))
    with pytest.raises(DataError, match=r"f\.csv:9 has an empty `label`"):
        convert(Raw({"text": "q", "label": value}, "f.csv", 9), form)


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("messages", {"messages": [u("q"), a("x"), u("r")]}, "ends with a user turn"),
        ("preference", {"prompt": "q", "chosen": "x", "rejected": "x"}, "are the same"),
        (
            "preference",
            {"chosen": [u("q"), a("x")], "rejected": [u("r"), a("y")]},
            "differ before the last turn",
        ),
        (
            "dialogue_pairs",
            {"chosen": HH + " x", "rejected": HH + " y\n\nHuman: r\n\nAssistant: z"},
            "differ before the last turn",
        ),
        ("dialogue_pairs", {"chosen": HH + " x", "rejected": HH}, "`rejected` ends with an empty"),
        ("dialogue_pairs", {"chosen": HH + " x", "rejected": HH + " x"}, "are the same"),
    ],
)
def test_a_sound_row_of_no_use_is_set_aside_with_a_reason(
    name: str, fields: dict[str, Any], reason: str
) -> None:
    aside = convert(Raw(fields, "f.jsonl", 7), Form(name))
    assert isinstance(aside, SetAside)
    assert (aside.file, aside.line) == ("f.jsonl", 7)
    assert reason in aside.reason


def test_two_turns_of_one_speaker_in_a_dialogue_become_one() -> None:
    before = "\n\nHuman: q\n\nAssistant: x\n\nAssistant: y\n\nHuman: r\n\nAssistant:"
    pair = made({"chosen": before + " good", "rejected": before + " bad"}, True)
    assert pair.prompt == (u("q"), a("x\n\ny"), u("r"))


def test_the_real_preference_file_is_used_but_for_the_few_odd_pairs() -> None:
    path = SHARED / "hh-harmless" / "pairs.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    raws = list(read(path))
    form = recognize(raws[0].fields, preference=True)
    assert form.name == "dialogue_pairs"
    results = [convert(raw, form) for raw in raws]
    asides = Counter(result.reason for result in results if isinstance(result, SetAside))
    assert asides == {
        "`chosen` ends with an empty assistant turn": 4,
        "chosen and rejected differ before the last turn": 5,
    }
    for pair in results:
        if isinstance(pair, Pair):
            assert pair.prompt[-1]["role"] == "user"
            assert len(pair.chosen) == len(pair.rejected) == 1
            assert pair.chosen != pair.rejected
            roles = [message["role"] for message in pair.prompt]
            assert all(one != two for one, two in pairwise(roles))
