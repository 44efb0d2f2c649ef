"""A measurement that a GPU has no memory for is taken in halves, and is the same measurement."""

from __future__ import annotations

import pytest
from helpers import in_fp32

pytestmark = pytest.mark.model
HOLDS = 2  # rows that the memory of these tests holds
PROMPTS = ("What is a lake?", "Name a colour.", "Say hello.", "Why is the sky blue?", "Count to 3.")


@pytest.fixture(scope="module")
def precise():
    return in_fp32()


@pytest.fixture
def small(monkeypatch):
    """`small(module, name)`: that function of it has no memory for more than HOLDS rows."""

    def make(module, name, rows):
        import torch

        whole = getattr(module, name)

        def held(*args):
            if len(rows(*args)) > HOLDS:
                raise torch.OutOfMemoryError("made for this test")
            return whole(*args)

        monkeypatch.setattr(module, name, held)

    return make


def ask_all(groups, holds):
    import torch

    from appliance.model.at_once import ask_all

    asked = []

    def ask(group):
        asked.append(group)
        if len(group) > holds:
            raise torch.OutOfMemoryError("made for this test")

    ask_all(groups, ask)
    return asked


def test_a_group_is_halved_until_it_fits_and_none_is_so_large_again():
    asked = ask_all([list(range(8)), list(range(8, 13))], 2)
    assert asked[:3] == [list(range(8)), [0, 1, 2, 3], [0, 1]]  # twice too much, then well
    assert asked[2:] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12]]


def test_what_fits_is_asked_once():
    assert ask_all([[0, 1], [2]], 2) == [[0, 1], [2]]


def test_one_row_that_does_not_fit_says_what_to_do():
    from appliance.errors import ModelError

    with pytest.raises(ModelError, match="does not hold one row") as caught:
        ask_all([[0, 1]], 0)
    assert "model.max_length" in caught.value.do


def test_answers_are_those_of_the_whole_batch(precise, small):
    from appliance.model import chat

    asked = [[{"role": "user", "content": p}] for p in PROMPTS]
    whole = chat.generate(precise, asked, 8)
    heard = []
    small(chat, "decode", lambda model, ids, *rest: ids)
    assert chat.generate(precise, asked, 8, done=heard.append) == whole
    assert sum(heard) == len(PROMPTS)
    assert max(heard) == HOLDS


def test_losses_are_those_of_the_whole_batch(precise, small):
    from appliance.model import likelihood
    from appliance.model.chat import encode

    rows = [encode(precise.tokenizer, [{"role": "user", "content": p},
                                       {"role": "assistant", "content": "It is."}], 64)
            for p in PROMPTS]  # fmt: skip
    whole = likelihood.likelihoods(precise, rows)
    small(likelihood, "bearing_logprobs", lambda model, inputs, labels: labels)
    for mine, other in zip(likelihood.likelihoods(precise, rows), whole, strict=True):
        assert mine.loss == pytest.approx(other.loss, rel=1e-4)
        assert mine.tokens == other.tokens
