"""Which dialogues are rehearsed, and how they are spread over a step. No torch."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from helpers import ROOT

from appliance.data.prepare import read_general
from appliance.data.rows import Row
from appliance.errors import DataError, RecipeError
from appliance.model.chat import loops as said_over
from appliance.recipe import load
from appliance.train.anchor import Rehearsal
from appliance.train.dialogues import CAREFUL, NEAR, Dialogue, _fault, begin, whole_prompt
from appliance.train.openers import OPEN, SMALL, TALK, WORDS, WRONG, openings
from appliance.train.rehearsal import General, check, rows_per_step, shares, unlike_the_task

FOUR = "one two three four "


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        (FOUR * 6, True),
        ("the cat sat on the mat and looked at the bird on the wall of the old house", False),
        ("1 1 1 1 1 1 1 1 1 1 1 1 1", True),
        ("short", False),
    ],
)
def test_an_answer_that_repeats_itself_is_seen(text, loops):
    assert said_over(text) is loops


@pytest.mark.parametrize(
    ("prompt", "answer", "fault"),
    [
        ("What is rain?", "Water that falls from clouds.", ""),
        ("Hm", "Water.", "broken"),
        ("What is rain?", "", "broken"),
        ("What is rain?", FOUR * 6, "broken"),
        ("What is snow?", "Frozen water.", "twice"),
    ],
)
def test_broken_and_repeated_dialogues_are_left_out_with_the_reason(prompt, answer, fault):
    assert _fault(Dialogue(prompt, answer, cut=False), {"what is snow?"}) == fault


def general(prompt):
    turns = ({"role": "user", "content": prompt}, {"role": "assistant", "content": "Yes."})
    return General(Row(turns, "self", 1))


def test_a_dialogue_near_a_tasks_prompt_is_left_out():
    near, far = general("Where is the card that I ordered?"), general("Why is the sea salty?")
    assert unlike_the_task([near, far], ["Where is the card I ordered two weeks ago?"]) == [far]


def test_openings_are_how_the_tasks_prompts_begin():
    prompts = [f"{word} card {n} is gone again" for n, word in enumerate(["My", "Her", "Our"] * 10)]
    found = openings(prompts, 1)
    assert found == openings(prompts, 1)
    assert found != openings(prompts, 2)
    assert len(found) == len(set(found))
    for opening in found:
        assert 0 < len(opening.split()) <= WORDS
        assert any(prompt.startswith(opening) for prompt in prompts)
    # "My" and "My card" begin a third of the rows: that is the task, not the way to its edge.
    assert {len(opening.split()) for opening in found} == {3}


def test_an_instruction_before_every_row_opens_no_general_dialogue():
    assert openings([f"Sort this ticket: number {n} is late" for n in range(30)], 1) == []
    assert openings(["Too short"] * 3, 1) == []


def test_what_is_wrong_to_ask_is_not_what_the_safety_suite_asks():
    """Or what is rehearsed would be what is measured."""
    suite = ROOT / "appliance" / "evaluate" / "suites" / "safety.jsonl"
    asked = [json.loads(line)["prompt"].lower() for line in suite.open()]
    for opener in WRONG:
        same = [prompt for prompt in asked if prompt.startswith(opener.lower())]
        assert len(same) <= 1, (opener, same)
        assert all(len(opener) < len(prompt) / 2 for prompt in same), (opener, same)


def test_one_in_three_dialogues_begins_as_the_task_does():
    begun = begin(30, 5, ["My card is"])
    assert begun.count("My card is") == 30 // NEAR
    assert sum(b in WRONG for b in begun) == 30 // CAREFUL
    assert set(begun) - {"My card is"} <= {*OPEN, *TALK, *SMALL, *WRONG}
    assert "My card is" not in begin(30, 5, [])


@pytest.mark.parametrize(
    ("text", "cut", "kept"),
    [
        ("What is  rain?", False, "What is rain?"),
        ("Fix the mistakes in: he go home. She see the", True, "Fix the mistakes in: he go home."),
        ("Tell me about the great red", True, ""),
        ("Sort these: 3.5, 2.1 and", True, "Sort these:"),
    ],
)
def test_a_prompt_that_ran_into_the_limit_keeps_its_whole_sentences(text, cut, kept):
    assert whole_prompt(text, cut) == kept


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"self": 1}),
        (["rehearsal.sources=[a.jsonl]"], {"a.jsonl": 1}),
        (["rehearsal.sources=[a.jsonl, {path: b.csv, share: 3}]"], {"a.jsonl": 1, "b.csv": 3}),
        (["rehearsal.sources=[a.jsonl]", "rehearsal.self=true"], {"a.jsonl": 1, "self": 1}),
        (["rehearsal.self=false"], {}),
    ],
)
def test_where_general_rows_come_from(overrides, expected):
    assert shares(load("sft", overrides)) == expected


def test_a_source_named_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        shares(load("sft", ["rehearsal.sources=[a.jsonl, a.jsonl]"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rows"),
        ('{"chosen": "a", "rejected": "b"}\n', "form"),
        ('{"prompt": "a"}\n', "form"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(tmp_path, text, said):
    path = tmp_path / "general.jsonl"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_general(str(path), lambda text: None)
    assert said in str(caught.value)
    assert "general.jsonl" in str(caught.value)


def test_a_source_that_is_not_there_is_said_before_anything_long_begins():
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        check(load("sft", ["rehearsal.sources=[nowhere.jsonl]"]))


@pytest.mark.parametrize(
    "wrong",
    ["rehearsal.share_of_rows=0.95", "rehearsal.share_of_rows=-1", "ewc.strength=strong",
     "ewc.strength=nan", "anchor.kl=inf", "rehearsal.sources=[{path: a.jsonl, share: 0}]"],
)  # fmt: skip
def test_a_number_that_is_none_is_refused_with_its_key(wrong):
    with pytest.raises(RecipeError) as caught:
        load("sft", [wrong])
    assert wrong.split("=")[0] in caught.value.what


@pytest.mark.parametrize(("share", "rows"), [(0.2, 2), (0.25, Fraction(8, 3)), (0, 0), (0.5, 8)])
def test_the_share_of_a_steps_rows_is_exact(share, rows):
    assert rows_per_step(load("sft", [f"rehearsal.share_of_rows={share}"])) == rows


@pytest.mark.parametrize(
    ("overrides", "share"),
    [
        ([], 0.3),
        (["rehearsal.sources=[general.jsonl]"], 0.2),
        (["rehearsal.sources=[general.jsonl]", "rehearsal.self=true"], 0.3),
        (["rehearsal.share_of_rows=0.1"], 0.1),
        (["rehearsal.share_of_rows=0"], 0.0),
    ],
)
def test_the_share_that_was_not_set_is_the_kind_of_rows_own(overrides, share):
    assert load("sft", overrides).general_share == share


def test_openers_are_many_and_none_twice():
    assert len({*OPEN, *TALK, *SMALL}) == len(OPEN) + len(TALK) + len(SMALL) >= 100


@pytest.mark.parametrize(
    ("rows", "accumulation"), [(2, 1), (2, 4), (3, 2), (1, 8), (5, 4), (Fraction(16, 3), 2)]
)
def test_a_steps_rows_are_spread_over_its_micro_batches(rows, accumulation):
    rehearsal = Rehearsal(None, [], Fraction(rows), loss_weight=0, kl_weight=0)  # type: ignore[arg-type]
    counts = [rehearsal.owe(accumulation) for _ in range(3 * accumulation)]
    assert sum(counts) == 3 * rows
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("overrides", "rehearses"),
    [
        ([], True),
        (["rehearsal.self=false"], False),
        (["rehearsal.self=false", "rehearsal.sources=[general.jsonl]"], True),
        (["rehearsal.share_of_rows=0"], False),
        (["rehearsal.share_of_rows=0", "ewc.strength=1"], True),
        (["anchor.kl=0"], False),
        (["anchor.kl=0", "rehearsal.loss=1"], True),
        (["rehearsal.sources=[general.jsonl]"], True),
    ],
)
def test_what_makes_a_recipe_rehearse(overrides, rehearses):
    assert load("sft", overrides).rehearses is rehearses
