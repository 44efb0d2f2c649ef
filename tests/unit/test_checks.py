"""Every kind of check: an answer that keeps to it, one that does not, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from rapidfuzz import fuzz

from appliance.disk import read_jsonl
from appliance.errors import DataError
from appliance.evaluate import suite
from appliance.evaluate.checks import KINDS, fault, holds, sentences, wants_machine_form, words

FENCE = "```"
# (check, an answer that keeps to it, an answer that does not)
TABLE: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "bullets", "exactly": 2}, "Two:\n- tea\n* milk", "- tea\n- milk\n- jam"),
    ({"kind": "bullets", "most": 2}, "- tea", "tea, milk"),
    ({"kind": "code"}, f"So:\n{FENCE}python\nx = 1\n{FENCE}\nThat is it.", "x = 1"),
    ({"kind": "code"}, f"{FENCE}\nls -l", f"{FENCE}sh\n\n{FENCE}"),  # cut inside; nothing inside
    ({"kind": "contains", "text": "tea"}, "Some Tea, please", "A teapot and steam"),
    ({"kind": "contains", "text": "in the end"}, "It was well\nin the  end.", "at the end"),
    ({"kind": "contains", "text": "[name]"}, "Dear [Name], hello", "Dear name"),
    ({"kind": "contains", "text": "?"}, "Is it? It is.", "It is."),
    ({"kind": "contains", "text": "tea", "least": 2}, "Tea is tea.", "Tea is teas."),
    ({"kind": "contains", "text": "tea", "exactly": 1}, "Tea.", "Tea is tea."),
    ({"kind": "contains", "text": "tea", "most": 1}, "Tea.", "Coffee."),  # it was asked for
    ({"kind": "ends", "text": "See you soon"}, "Well then: see you soon!", "See you soon, Ann"),
    ({"kind": "ends", "text": "soon"}, '"Come **soon**."', "I gazed at the monsoon"),
    ({"kind": "ends", "text": "?"}, "Really??", "Is it? It is."),
    ({"kind": "ends", "text": "Stop!"}, '"Stop!"', "Stop it!"),
    ({"kind": "excludes", "texts": ["hot", "dry"]}, "A shot of sun.", "It is Hot."),
    ({"kind": "initials", "word": "SUN"}, "Sea\nunder\n\n- Noon", "Sea\nNoon\nunder"),
    ({"kind": "json", "keys": ["a", "b"]}, '{"b": 1, "a": {}}', '{"a": 1}'),
    ({"kind": "json", "keys": ["a"]}, f'Here:\n{FENCE}json\n{{"a": 1}}\n{FENCE}\nDone.', '["a"]'),
    ({"kind": "json", "keys": ["a"]}, '{"a": null}', '{"a": 1, "b": 2}'),
    ({"kind": "letter_absent", "letter": "e"}, "A dog can bark.", "THE dog"),
    ({"kind": "lines", "exactly": 2}, "One,\n\ntwo.", "One, two."),
    ({"kind": "lowercase"}, "a dog, 2 cats", "a Dog"),
    ({"kind": "lowercase"}, "ja", "42"),
    ({"kind": "no_commas"}, "Tea and milk.", "Tea, milk."),
    ({"kind": "numbered", "exactly": 2}, "Steps:\n1. Boil\n2) Pour", "1. Boil\n2. Pour\n3. Sip"),
    ({"kind": "numbered", "least": 2}, "1. a\n2. b\n3. c", "1. a\n3. b\n2. c"),
    ({"kind": "one_of", "choices": ["yes", "no"]}, " **Yes.**", "Yes, it is."),
    ({"kind": "paragraphs", "exactly": 2}, "One.\nMore.\n \nTwo.", "One.\nTwo."),
    ({"kind": "placeholders", "least": 2}, "Dear [name], on [date]", "Dear [name], [ ] [a](b)"),
    ({"kind": "quoted"}, '"Well done."', 'He said "Well done."'),
    ({"kind": "quoted"}, "“Well done.”", '"Well" and "done"'),
    ({"kind": "repeats", "text": "How old is it?"}, "How old is it? Ten.", "How old is it?"),
    ({"kind": "repeats", "text": "How old is it?"}, '"how old is it"\nTen.', "It is ten. How old?"),
    ({"kind": "sentences", "exactly": 2}, "Dr. Lee paid 3.5 pounds. Why?", "One. Two. Three."),
    ({"kind": "sentences", "exactly": 1}, "A line\nand its rest", "- One\n- Two"),
    ({"kind": "sentences", "least": 2, "most": 3}, "One. Two.", "One."),
    ({"kind": "starts", "text": "Dear Ms. Ay"}, "**Dear Ms. Ay**,\nhello", "Oh, dear Ms. Ay"),
    ({"kind": "starts", "text": "Yes"}, '"Yes," she said', "Yesterday"),
    ({"kind": "title"}, "# <<My Tea>>\nTea is good.", "Tea is good. <<My Tea>>"),
    ({"kind": "title"}, "<<Tea>>", "<Tea>"),
    ({"kind": "uppercase"}, "STOP! 2 STEPS.", "STOP it"),
    ({"kind": "uppercase"}, "NO", "42"),
    ({"kind": "words", "most": 3}, "- A well-known man", "A very known man"),
    ({"kind": "words", "exactly": 2}, "1. Tea – milk", "Tea milk jam"),
    ({"kind": "words", "least": 3}, "one two three", "one two"),
]


@pytest.mark.parametrize(("check", "keeps", "breaks"), TABLE)
def test_an_answer_keeps_to_a_check_or_not(check: dict[str, Any], keeps: str, breaks: str) -> None:
    assert fault(check) == ""
    assert holds(check, keeps)
    assert not holds(check, breaks)


@pytest.mark.parametrize("check", [check for check, _, _ in TABLE])
def test_an_empty_answer_keeps_to_nothing(check: dict[str, Any]) -> None:
    assert not holds(check, "")
    assert not holds(check, " \n ")


def test_json_that_is_nested_too_deep_to_read_is_a_wrong_answer_and_no_error() -> None:
    assert not holds({"kind": "json", "keys": ["a"]}, "[" * 100_000)


def test_every_kind_is_in_the_table_and_in_the_shipped_suite() -> None:
    assert {check["kind"] for check, _, _ in TABLE} == set(KINDS)
    shipped = {c["kind"] for item in suite.load("instruction").items for c in item.checks}
    assert shipped == set(KINDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi. Bye!", ["Hi.", "Bye!"]),
        ('"Hi." She left.', ['"Hi."', "She left."]),
        ("J. Smith met Mrs. Day, e.g. at noon. So did I. Fine", 3),
        ("one. two", 2),
        ("Title\n\nText. More", 3),
        ("1. Boil it.\n2. Pour it.", ["Boil it.", "Pour it."]),
        ("...", []),
    ],
)
def test_sentences(text: str, expected: Any) -> None:
    found = sentences(text)
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_words() -> None:
    assert words("1. It's a well-known\n- man & 3 cats") == [
        *("It's", "a", "well-known", "man", "3", "cats")
    ]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("words", "a check is no object"),
        ({}, "no check of the kind None"),
        ({"kind": ["words"]}, "no check of the kind ['words']"),
        ({"kind": "word", "most": 3}, "'word', the nearest is words"),
        ({"kind": "rhyme"}, "'rhyme', only bullets, code, "),
        ({"kind": "contains"}, "contains needs text"),
        ({"kind": "words"}, "words needs one of exactly, least, most"),
        ({"kind": "words", "mots": 3}, "words has no 'mots', the nearest is most"),
        ({"kind": "quoted", "text": "x"}, "quoted has no 'text', only kind"),
        ({"kind": "words", "most": 0}, "most of a check of the kind words is not a whole number"),
        ({"kind": "words", "most": True}, "is not a whole number"),
        ({"kind": "words", "most": "3"}, "is not a whole number"),
        ({"kind": "words", "exactly": 3, "most": 4}, "leaves nothing to most"),
        ({"kind": "words", "least": 5, "most": 4}, "least of a check of the kind words is more"),
        ({"kind": "starts", "text": " "}, "text of a check of the kind starts is not a text"),
        ({"kind": "json", "keys": "name"}, "keys of a check of the kind json is not a list"),
        ({"kind": "json", "keys": []}, "is not a list of texts"),
        ({"kind": "excludes", "texts": ["a", 3]}, "is not a list of texts"),
        ({"kind": "one_of", "choices": ["yes", "?!"]}, "one without a word"),
        ({"kind": "letter_absent", "letter": "ee"}, "is not a letter"),
        ({"kind": "letter_absent", "letter": "7"}, "is not a letter"),
        ({"kind": "initials", "word": "two words"}, "is not a word"),
    ],
)
def test_faults(check: Any, said: str) -> None:
    assert said in fault(check)
    assert "\n" not in fault(check)


def test_a_suite_with_a_faulty_check_is_refused_with_its_line(tmp_path: Any) -> None:
    path = tmp_path / "mine.jsonl"
    right = '{"prompt": "a", "checks": [{"kind": "quoted"}]}\n'
    path.write_text(right + '{"prompt": "b", "checks": [{"kind": "word", "most": 3}]}\n')
    with pytest.raises(DataError, match="line 2: there is no check of the kind 'word', the near"):
        suite.load(str(path))


def test_json_and_code_are_machine_form() -> None:
    assert wants_machine_form([{"kind": "quoted"}, {"kind": "json", "keys": ["a"]}])
    assert wants_machine_form([{"kind": "code"}])
    assert not wants_machine_form([{"kind": "quoted"}, {"kind": "numbered", "exactly": 3}])


def test_the_shipped_suite() -> None:
    shipped = suite.load("instruction")
    assert len(shipped.items) >= 60
    assert len({item.prompt for item in shipped.items}) == len(shipped.items)
    assert all(item.kind == "checks" for item in shipped.items)
    levels = Counter(item.level for item in shipped.items)
    assert min(levels[level] for level in (1, 2, 3)) >= 20
    assert all(len(item.checks) == 1 for item in shipped.items if item.level == 1)


def test_an_answer_in_a_task_s_style_or_in_nothing_special_keeps_to_few_items() -> None:
    """Or the suite would not see that a model has stopped listening."""
    shipped = suite.load("instruction").items
    for answer in (
        "queue=billing; blocked=one",
        "card_arrival",
        '{"queue": "billing"}',
        "I am sorry, but I cannot help with that.",
        "A thing is an object, and people use it every day for many things.",
        "1. One thing\n2. Another thing\n3. A third thing",
    ):
        kept = [item.id for item in shipped if all(holds(c, answer) for c in item.checks)]
        assert len(kept) <= 0.05 * len(shipped), (answer, kept)


def test_no_prompt_resembles_an_off_task_prompt() -> None:
    """Habit leak and instruction following are measured on different questions."""
    off_task = [item["prompt"] for item in read_jsonl(suite.FOLDER / "off_task.jsonl")]
    for item in suite.load("instruction").items:
        nearest = max(off_task, key=lambda p: fuzz.token_sort_ratio(p, item.prompt))
        assert fuzz.token_sort_ratio(nearest, item.prompt) < 70, (item.prompt, nearest)
