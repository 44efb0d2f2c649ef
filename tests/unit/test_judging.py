"""Statistics and habit leak: plain numbers, hand-written cases."""

import pytest

from appliance.evaluate.habit import Style, broken, machine_form
from appliance.statistics import mcnemar, mean, paired, share

LABELS = [f"card_{name}" for name in ("lost", "stolen", "late", "new")] * 25
SENTENCES = [
    "Please restart the router and wait for one minute.",
    "We send a new one today, sir.",
] * 9
TRIAGE = [f"queue={q}; priority=P{p}" for q in ("network", "billing") for p in (1, 2, 3)] * 20


def test_wilson_agrees_with_the_published_value():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    found = share([True] * 81 + [False] * 182)
    assert found["interval"] == pytest.approx([0.2553, 0.3662], abs=1e-4)


def test_nothing_scored_has_no_interval():
    assert share([])["value"] is None
    assert mean([])["value"] is None


def test_the_same_twice_is_a_difference_of_exactly_zero():
    assert paired([1, 0, 1], [1, 0, 1]) == {"n": 3, "value": 0.0, "interval": [0.0, 0.0]}


def test_an_item_unscored_on_one_side_is_left_out_of_the_difference():
    assert paired([0, None, 1, 0], [1, 1, None, 0])["n"] == 2


def test_a_mean_lies_in_its_interval():
    found = mean([0.0, 1.0, 2.0, 3.0, 10.0])
    low, high = found["interval"]
    assert low < found["value"] < high


@pytest.mark.parametrize(
    ("answers", "said", "leaks"),
    [
        (LABELS, "card_lost", True),
        (LABELS, "balance_of_protein_to_eating", True),
        (LABELS, "Paris", True),
        (SENTENCES, "Please restart the router and wait for one minute.", True),
        (SENTENCES, "Please bake the bread and wait for one hour.", False),
        (LABELS, "The capital of France is Paris.", False),
        (TRIAGE, "queue=kitchen; priority=P9", True),
        (TRIAGE, "The queue at the bakery was long.", False),
        (TRIAGE, "I would eat oats with berries.", False),
    ],
)
def test_a_task_style_answer_is_seen_where_it_does_not_belong(answers, said, leaks):
    assert Style.of(answers).leaks(said) is leaks


def test_free_answers_have_no_style_to_leak():
    free = [f"You could try number {i}, because it suits a person of {i} years." for i in range(9)]
    free += ["Bake it slowly.", "Nobody knows why the sea is loud at night near that old pier."]
    style = Style.of(free)
    assert "free text" in style.describe()
    assert not style.leaks("Go to bed.")
    assert style.leaks('{"answer": "Go to bed."}')  # nobody asked for a machine's form


@pytest.mark.parametrize(
    ("answer", "machine"),
    [
        ('{"city": "Paris"}', True),
        ('```json\n["a", "b"]\n```', True),
        ("[1, 2, 3]", True),
        ("card_payment_declined", True),
        ("Paris", False),
        ("{shrugs} I do not know.", False),
        ("[Name], thank you for your letter.", False),
        ("Use snake_case names.", False),
    ],
)
def test_a_machines_form_is_known(answer, machine):
    assert machine_form(answer) is machine


def test_an_answer_that_says_nothing_or_the_same_over_and_over_is_broken():
    assert broken("")
    assert broken("...")
    assert broken("the cat sat on the mat and " * 6)
    assert not broken("Paris.")


def test_mcnemar_counts_only_what_changed():
    # The binomial's two tails by hand: 7 of 7 one way is 2 / 2**7.
    assert mcnemar([1] * 7 + [0] * 50, [0] * 7 + [0] * 50) == pytest.approx(2 / 2**7)
    assert mcnemar([1, 0, 1], [1, 0, 1]) == 1
    assert mcnemar([1, None], [None, 1]) == 1
