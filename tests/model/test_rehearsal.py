"""Rehearsal on the real small model."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def loaded():
    from appliance.model import adapter
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    loaded = open_model(ModelSection())
    adapter.attach(loaded, r=16, alpha=16, dropout=0.0, target_modules=("q_proj", "v_proj"), seed=1)
    loaded.model.train()
    return loaded


@pytest.fixture(scope="module")
def row(loaded):
    from appliance.model.chat import encode

    messages = [
        {"role": "user", "content": "Why is the sea salty?"},
        {"role": "assistant", "content": "Rivers carry salt into it."},
    ]
    return encode(loaded.tokenizer, messages, 512)


def term(loaded, row, **weights):
    from appliance.train.anchor import Rehearsal

    rehearsal = Rehearsal(loaded, [row], Fraction(2), **weights)
    return rehearsal.term(loaded.model, rehearsal.turn(1))


def test_the_kl_of_an_untrained_adapter_is_zero_and_pulls_at_nothing(loaded, row):
    kl = term(loaded, row, loss_weight=0.0, kl_weight=1.0)
    kl.backward()
    grads = [p.grad for p in loaded.model.parameters() if p.requires_grad and p.grad is not None]
    loaded.model.zero_grad()
    assert float(kl) == 0.0
    assert grads
    assert max(float(g.abs().max()) for g in grads) < 1e-6


def test_the_loss_term_is_the_loss_on_the_answer(loaded, row):
    from appliance.model.likelihood import likelihoods

    mine = float(term(loaded, row, loss_weight=1.0, kl_weight=0.0))
    found = likelihoods(loaded, [row])[0]
    assert mine == pytest.approx(found.loss / found.tokens, rel=0.02)


def test_a_changed_adapter_has_a_kl_and_a_gradient_that_leads_back(loaded, row):
    import torch

    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    kl = term(loaded, row, loss_weight=0.0, kl_weight=1.0)
    kl.backward()
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad
        less = term(loaded, row, loss_weight=0.0, kl_weight=1.0)
    assert float(kl) > 0.01
    assert float(less) < float(kl)


def test_what_the_base_says_is_asked_once_and_kept(row, tmp_path, monkeypatch):
    """In fp32: the term is that of a base that is asked at each turn; the next run finds it."""
    import torch
    from helpers import in_fp32

    from appliance.model import adapter
    from appliance.train.anchor import Rehearsal

    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    loaded = in_fp32()
    adapter.attach(loaded, r=16, alpha=16, dropout=0.0, target_modules=("q_proj", "v_proj"), seed=1)
    weights = {"loss_weight": 0.5, "kl_weight": 1.0}
    kept, asked, found = (Rehearsal(loaded, [row, row], Fraction(2), **weights) for _ in range(3))
    kept.ask_base()
    with monkeypatch.context() as patched:
        patched.delattr("appliance.train.base_says.BaseSays._asked")
        found.ask_base()
    assert torch.equal(found.base.hidden[0], kept.base.hidden[0])
    assert kept.base.hidden[0] is kept.base.hidden[1]  # a dialogue that is taken again
    assert kept.base.hidden[0].shape == (row.bearing, loaded.model.config.hidden_size)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    terms = [float(r.term(loaded.model, r.turn(1)).detach()) for r in (kept, asked)]
    assert terms[0] == pytest.approx(terms[1], rel=1e-3)
    assert terms[0] > 0.01


def test_a_run_rehearses_beside_its_steps(sft_run):
    facts = json.loads((sft_run / "train" / "train.json").read_text())
    dialogues = (sft_run / "data" / "rehearsal.jsonl").read_text().splitlines()
    rows = int(4 * 16 * Fraction(3, 7))  # four steps, three general rows for seven of the task
    assert facts["rehearsed"]["rows"] == rows
    assert len(dialogues) >= 8
    assert facts["rehearsal_sources"]["self"]["taken"] == rows
    assert facts["rehearsal_sources"]["self"]["tokens"] == facts["rehearsed"]["tokens"]
    assert facts["rehearsed"]["last_kl"] > 0


def test_the_first_token_counts_as_much_as_all_others():
    import torch

    from appliance.train.anchor import weighed

    owner = torch.tensor([0, 0, 0, 1, 2, 2])
    values = torch.tensor([3.0, 0.1, 0.3, 5.0, 1.0, 0.2])
    assert float(weighed(values, owner)) == pytest.approx(3.0 + 0.2)
    assert float(weighed(values[3:4], owner[3:4])) == 5.0  # answers of one token
