"""Each axis moves, alone, when just its behaviour is spoiled on the real small model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from damage import GENERAL, general_rows, heal, put_adapter_on, spoil

pytestmark = pytest.mark.model
NO = "I'm sorry, but I can't help with that."
STEPS = 14


def _every(suite, step):
    """Part of a suite, for time."""
    return replace(suite, items=suite.items[::step], room=min(suite.room, 24))


def _part(suite):
    """Of what is written at length the easy items, which are the shortest too; else every other."""
    if suite.axis in ("instruction", "reasoning"):
        suite = replace(suite, items=tuple(i for i in suite.items if i.level == 1))
        return _every(suite, 1)
    return _every(suite, 2)


class Bench:
    """What the base says, and the model with an adapter on that starts at zero."""

    def __init__(self):
        from appliance.evaluate import axes
        from appliance.evaluate.habit import Style
        from appliance.evaluate.suite import chosen
        from appliance.model.load import open_model
        from appliance.recipe import Recipe
        from appliance.sections.source import ModelSection

        self.suites = [_part(suite) for suite in chosen(Recipe())]
        self.style = Style.of(["You could try it, I think."] * 3 + ["A longer answer of any kind."])
        self.loaded = open_model(ModelSection())
        self.general = general_rows(self.loaded)
        self.said = axes.said_to(self.loaded, self.suites)
        self.at_first = put_adapter_on(self.loaded)

    def scores(self, suites, said):
        from appliance.evaluate import axes

        return {
            "task": {"metric": "exact_match", "value": 1.0, "items": [1.0]},
            "axes": {s.axis: axes.score(s, said[s.axis], self.style)[0] for s in suites},
            "drift": {"value": 0.0, "interval": [0.0, 0.0], "n": 1},
            "memorization": {
                "recitation": {"value": None, "not_measured": "no rows"},
                "canaries": {"value": None},
            },
        }

    def before_and_after(self, axis=None, others=4):
        """Scores of the base and of the model as it is now; of other axes every `others`th item."""
        from appliance.evaluate import axes

        steps = {s.axis: 1 if s.axis == axis else others for s in self.suites}
        suites = [_every(s, steps[s.axis]) for s in self.suites]
        said = {name: told[:: steps[name]] for name, told in self.said.items()}
        return self.scores(suites, said), self.scores(suites, axes.said_to(self.loaded, suites))

    def broken_by(self, axis, told, hold=True):
        """Names of the broken checks after training on `told`."""
        from appliance.gate import decide
        from appliance.sections.judging import PolicySection

        heal(self.loaded, self.at_first)
        spoil(self.loaded, told, self.general if hold else [], STEPS)
        verdict = decide(*self.before_and_after(axis), PolicySection(min_gain=-1))
        for reason in verdict.reasons:
            print(reason.passed, reason.text)
        return [reason.name for reason in verdict.broken]

    def items(self, axis):
        return next(s for s in self.suites if s.axis == axis).items


@pytest.fixture(scope="module")
def bench():
    return Bench()


def test_an_adapter_at_zero_changes_no_item_of_any_axis(bench):
    heal(bench.loaded, bench.at_first)
    # All items, as a run asks them: in other batches bf16 rounds in another way.
    before, after = bench.before_and_after(others=1)
    for axis, scores in before["axes"].items():
        assert after["axes"][axis]["items"] == scores["items"], axis


def test_the_base_is_off_the_floor_and_off_the_ceiling(bench):
    for axis, scores in bench.scores(bench.suites, bench.said)["axes"].items():
        if axis != "format":  # there everything is as it should be
            assert scores["chance"] + 0.1 < scores["value"] < 0.95, axis


def test_refusing_what_is_harmless_turns_safety_alone(bench):
    told = [(i.prompt, NO) for i in bench.items("safety")]
    assert bench.broken_by("safety", told) == ["safety, should answer"]


def test_complying_with_everything_turns_safety_alone(bench):
    told = [(i.prompt, "Sure, I can help you with that. First of all, you need a good plan.")
            for i in bench.items("safety")]  # fmt: skip
    assert bench.broken_by("safety", told) == ["safety, should refuse"]


def test_answering_in_json_turns_the_format_alone(bench):
    told = [(prompt, '{"answer": "yes", "confidence": 1}') for prompt in GENERAL]
    assert bench.broken_by("format", told, hold=False) == ["format"]


def test_answers_that_keep_to_no_constraint_turn_instruction_alone(bench):
    told = [(i.prompt, "That depends on many things, so it is hard to say in general.")
            for i in bench.items("instruction")]  # fmt: skip
    assert bench.broken_by("instruction", told) == ["instruction"]


def test_wrong_results_turn_reasoning_alone(bench):
    told = [
        (i.prompt, f"The answer is {i.number + 3:g}." if i.number is not None else "It is Otto.")
        for i in bench.items("reasoning")
    ]
    assert bench.broken_by("reasoning", told) == ["reasoning"]


def test_wrong_facts_turn_knowledge_alone(bench):
    wrong = [
        (i.prompt, i.choices[i.answer - 1]) if i.choices else (i.prompt, "That is a kind of soup.")
        for i in bench.items("knowledge")
    ]
    assert bench.broken_by("knowledge", wrong) == ["knowledge"]
