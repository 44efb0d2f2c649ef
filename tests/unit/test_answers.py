"""Reading a generated answer, choosing the likelier one, and the suites that are scored so."""

import json
from collections import Counter

import pytest

from appliance.evaluate.answers import accepted, choice_score, number, numbers, score, words
from appliance.evaluate.suite import FOLDER, Item, load


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("7", 7),
        ("12.", 12),
        ("Mia has 4 + 3 = 7 apples.", 7),
        ("First 12 - 4 = 8, and then 8 + 7 = 15. So Nora has 15 stickers.", 15),
        ("3 x 4 = 12\n12 - 5 is 7, so 7 are left.", 7),
        ("The answer is 7, because 2 of the 9 birds flew away.", 7),
        ("The answer is 3 + 4 = 7.", 7),
        ("We add 5 and 6.\n\n**Answer:** 11", 11),
        ("**Final answer: 1,250**", 1250),
        ("4 + 3 = 7 apples.\n#### 7\nMia buys 3 more.", 7),
        ("The total is $12.50.", 12.5),
        ("It costs 12,000,000 dollars", 12_000_000),
        ("It was -3 degrees.", -3),
        ("8-3 leaves 5", 5),
        ("\\[ \\boxed{54} \\]", 54),
        ("That is 3/4 of it.", 0.75),
        ("He has 12kg", 12),
        ("2,4,6,8,10", 10),
        ("5 and then...7", 7),
        ("There are seven birds left.", 7),
        ("There are twenty-five of them.", 25),
        ("The number is one.", 1),
        ("There are 6 in all. That is the right one.", 6),
        ("It takes the snail 4 days.\n1. It climbs.\n2. It slips.", 4),
        ("Step 1: 5 + 5\nStep 2: is 10", 10),
        ("He is the 3rd of 9 on the 21st", 9),
        ("I cannot tell.", None),
        ("", None),
        ("one hundred", None),
    ],
)
def test_the_number_that_an_answer_gives(answer, value):
    assert number(answer) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("accept", "answer", "right"),
    [
        (["Tokyo"], "The capital of Japan is TOKYO!", True),
        (["Tokyo"], "Tokyoites live there.", False),
        (["São Paulo"], "It is Sao Paulo.", True),
        (["carbon dioxide", "CO2"], "Plants take in CO₂.", True),
        (["carbon dioxide", "CO2"], "Plants take in dioxide and carbon.", False),
        (["1945"], "It ended in 1945.", True),
        (["1945"], "It ended in 19,451.", False),
        (["10:35"], "It ends at 10:35.", True),
        (["ice"], "", False),
        (["+"], "One writes a + b.", True),
        (["+"], "I do not know.", False),
    ],
)
def test_an_accepted_string_stands_in_the_answer_as_whole_words(accept, answer, right):
    assert accepted(accept, "What is it?", answer) is right


OLDEST = (
    "Clara is older than David. David is older than Emil. Who is the oldest? End with the name."
)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Clara", True),
        ("clara.", True),
        ("Clara is the oldest.", True),
        ("Clara is older than David and Emil.", True),
        ("David is older than Emil, and Clara is older than David. The oldest is Clara.", True),
        ("Since Clara is older than David and David is older than Emil, it is Clara.", True),
        ("Clara is the oldest, because she is older than David, who is older than Emil.", True),
        ("Clara is the oldest, followed by David and then Emil.", True),
        ("Clara is the oldest of Clara, David and Emil.", True),
        ("David is older than Emil.\n\n**Answer**: Clara\n\nDavid comes second.", True),
        ("It is Clara, not David.", True),
        ("David", False),
        ("David is older than Clara.", False),
        ("Clara, David, Emil", False),
        ("It is Clara, David or Emil.", False),
        ("Clara is older than David. So the oldest is Emil.", False),
        ("The answer is David. Clara is younger.", False),
        ("I do not know.", False),
        ("", False),
    ],
)
def test_of_the_names_that_a_puzzle_gives_one_is_the_answer(answer, right):
    assert accepted(["Clara"], OLDEST, answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Wednesday", True),
        ("If today is Monday, then in two days it will be Wednesday.", True),
        ("Two days after Monday it is Wednesday.", True),
        ("It will be Wednesday if today is Monday.", True),
        ("It will be Wednesday, because Tuesday is tomorrow.", True),
        ("Monday, Tuesday, Wednesday", True),
        ("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday", False),
        ("It will be Tuesday.", False),
        ("Monday", False),
    ],
)
def test_a_day_that_the_prompt_gives_is_no_candidate(answer, right):
    assert accepted(["Wednesday"], "Today is Monday. Which day is it in two days?", answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("17, 30, 42", True),
        ("17 < 30 < 42", True),
        ("42, 17, 30 in order are 17, 30 and 42.", True),
        ("17\n30\n42", True),
        ("The order is 17, 30, 42. So 42 is the largest and 17 the smallest.", True),
        ("42, 30, 17", False),
        ("17, 30, 42, so the order is 42, 17, 30", False),
        ("17, 42", False),
        ("17, 300, 42", False),
    ],
)
def test_an_accepted_string_with_commas_is_an_order(answer, right):
    assert accepted(["17, 30, 42"], "Sort 42, 17, 30.", answer) is right


def test_no_number_is_unparsed_and_no_word_is_wrong():
    asked = Item("a", "How many?", "answer", number=7)
    assert [score(asked, said) for said in ("7.0", "8", "who knows")] == [1.0, 0.0, None]
    assert score(Item("b", "Where?", "answer", accept=("Rome",)), "who knows") == 0.0


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("So it lays 6 eggs in 3 days.", 1.0),
        ("It lays 3 eggs in 6 days.", 1.0),
        ("2 x 3 = 6. In 3 days.", 1.0),
        ("It lays 5 eggs in 3 days.", 0.0),
        ("It lays 2 eggs.", 0.0),
        ("3 + 3 = 6. The answer is 3.", 0.0),
        ("There are six.", 1.0),
        ("In 3 days it lays 2.", 0.0),
    ],
)
def test_numbers_of_the_prompt_are_passed_over(answer, right):
    item = Item("a", "It lays 2 eggs a day. How many in 3 days?", "answer", number=6)
    assert score(item, answer) == right


def test_a_right_answer_that_stands_in_the_prompt_is_not_passed_over():
    item = Item("a", "I have 6 eggs and eat 3. How many are left?", "answer", number=3)
    assert [score(item, said) for said in ("3", "I ate 3, 2 are left.", "3 are left.")] == [1, 0, 1]


def test_an_item_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="choice-1"):
        score(Item("choice-1", "Where?", "choice", choices=("a", "b")), "a")


def test_a_longer_choice_is_not_less_likely_for_its_length():
    assert choice_score([8.0, 12.0, 9.0], [4, 12, 5]) == 1
    assert choice_score([3.0, 3.0], [3, 3]) == 0


def suite_items(name, kind):
    return [item for item in load(name).items if item.kind == kind]


@pytest.mark.parametrize(("name", "least"), [("knowledge", 90), ("reasoning", 72)])
def test_a_shipped_suite_is_whole(name, least):
    items = load(name).items
    assert len(items) >= least
    assert len({item.id for item in items}) == len(items)
    assert len({" ".join(words(item.prompt)) for item in items}) == len(items)
    assert {item.kind for item in items} <= {"choice", "answer"}
    levels = Counter(item.level for item in items)
    assert min(levels[level] for level in (1, 2, 3)) >= 20


def test_choices_tell_nothing_without_their_question():
    # Four questions share their four choices, and each of these is right once: whoever looks at
    # the choices alone, or at their places, is right in one of four.
    items = suite_items("knowledge", "choice")
    assert len(items) >= 64
    groups: dict[frozenset[str], list[Item]] = {}
    for item in items:
        groups.setdefault(frozenset(item.choices), []).append(item)
    for choices, asked in groups.items():
        assert len(choices) == len(asked) == 4
        assert {item.choices[item.answer] for item in asked} == choices
        assert {item.answer for item in asked} == {0, 1, 2, 3}
        assert len({item.level for item in asked}) == 1


def test_a_right_answer_scores_and_a_prompt_said_again_mostly_does_not():
    for name in ("knowledge", "reasoning"):
        items = suite_items(name, "answer")
        for item in items:
            plain = item.accept[0] if item.accept else f"{item.number:g}"
            assert score(item, plain) == score(item, f"The answer is {plain}.") == 1.0
            assert item.number not in numbers(item.prompt)  # or who echoes it would be right
        echoed = [item.id for item in items if score(item, item.prompt) == 1.0]
        assert len(echoed) <= len(items) // 20, echoed


def test_no_prompt_is_one_of_the_off_task_prompts():
    lines = (FOLDER / "off_task.jsonl").read_text(encoding="utf-8").splitlines()
    others = [set(words(json.loads(line)["prompt"])) for line in lines]
    for name in ("knowledge", "reasoning"):
        for item in load(name).items:
            mine = set(words(item.prompt))
            assert max(len(mine & other) / len(mine | other) for other in others) < 0.5, item.prompt
