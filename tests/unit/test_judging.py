"""Statistics, habit leak and the gate: plain numbers, hand-written cases."""

import pytest

from appliance.evaluate.habit import Style
from appliance.gate import decide
from appliance.sections import PolicySection
from appliance.statistics import mean, paired, share

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
    assert not style.exists
    assert "free text" in style.describe()


def scores(task, leaks, kl):
    return {
        "task": {"metric": "exact_match", "value": sum(task) / len(task), "items": task},
        "habit_leak": {"value": sum(leaks) / len(leaks) if leaks else None, "items": leaks},
        "drift": mean(kl),
    }


BASE = scores([0] * 40, [False] * 40, [0.0] * 40)


def test_a_gain_without_loss_may_ship():
    verdict = decide(BASE, scores([1] * 40, [False] * 40, [0.01] * 40), PolicySection())
    assert verdict.ship == "yes"
    assert verdict.reasons[0].value == 1.0


@pytest.mark.parametrize(
    ("after", "broken"),
    [
        (scores([0] * 40, [False] * 40, [0.0] * 40), "gain"),
        (scores([1] * 40, [True] * 40, [0.0] * 40), "habit_leak"),
        (scores([1] * 40, [False] * 40, [1.5] * 40), "drift"),
    ],
)
def test_each_loss_alone_turns_the_verdict(after, broken):
    verdict = decide(BASE, after, PolicySection())
    assert verdict.ship == "no"
    assert [r.name for r in verdict.reasons if r.passed == "no"] == [broken]


def test_what_cannot_be_measured_is_said_and_is_no_failure():
    free = scores([1] * 40, [], [0.0] * 40)
    before = scores([0] * 40, [], [0.0] * 40)
    verdict = decide(before, free, PolicySection())
    assert verdict.ship == "yes"
    assert verdict.reasons[1].passed == "not measured"
