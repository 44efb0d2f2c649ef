"""Which dialogues are rehearsed, and how they are spread over a step. No torch."""

from __future__ import annotations

import pytest

from appliance.recipe import load
from appliance.train.anchor import Rehearsal
from appliance.train.openers import OPEN, SMALL
from appliance.train.rehearsal import Dialogue, _fault, _loops, unlike_the_task

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
    assert _loops(text.split()) is loops


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


def test_a_dialogue_near_a_tasks_prompt_is_left_out():
    near = Dialogue("Where is the card that I ordered?", "On its way.", cut=False)
    far = Dialogue("Why is the sea salty?", "Rivers carry salt.", cut=False)
    assert unlike_the_task([near, far], ["Where is the card I ordered two weeks ago?"]) == [far]


def test_openers_are_many_and_none_twice():
    assert len({*OPEN, *SMALL}) == len(OPEN) + len(SMALL) >= 100


@pytest.mark.parametrize(("rows", "accumulation"), [(2, 1), (2, 4), (3, 2), (1, 8), (5, 4)])
def test_a_steps_rows_are_spread_over_its_micro_batches(rows, accumulation, monkeypatch):
    counts = []
    rehearsal = Rehearsal(
        None,
        [None] * 7,
        rows,
        loss_weight=0,
        kl_weight=0,
        seed=1,  # type: ignore[arg-type,list-item]
    )
    for _ in range(3 * accumulation):
        count = rehearsal.owe(accumulation)
        counts.append(count)
    assert sum(counts) == 3 * rows
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("overrides", "rehearses"),
    [
        ([], False),
        (["rehearsal.self=true"], True),
        (["rehearsal.self=true", "rehearsal.share_of_rows=0"], False),
        (["rehearsal.self=true", "anchor.kl=0"], False),
        (["rehearsal.self=true", "anchor.kl=0", "rehearsal.loss=1"], True),
        (["rehearsal.sources=[general.jsonl]"], True),
    ],
)
def test_what_makes_a_recipe_rehearse(overrides, rehearses):
    assert load("sft", overrides).rehearses is rehearses
