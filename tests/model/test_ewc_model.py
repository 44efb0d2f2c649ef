"""Elastic weight consolidation on the real small model: its penalty is near the KL it is for."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def torch():
    from appliance.model import backend

    return backend.torch()


@pytest.fixture(scope="module")
def loaded():
    from appliance.model import adapter
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    loaded = open_model(ModelSection())
    adapter.attach(
        loaded, r=8, alpha=8, dropout=0.0, target_modules=("v_proj", "down_proj"), seed=1
    )
    loaded.model.train()
    return loaded


@pytest.fixture(scope="module")
def dialogues(loaded):
    from appliance.model.chat import encode

    said = [
        ("Why is the sea salty?", "Rivers carry salt into it."),
        ("Name a tree that keeps its leaves.", "The holly keeps its leaves in winter."),
        ("How many legs has a spider?", "A spider has eight legs."),
        ("Who wrote Hamlet?", "William Shakespeare wrote it around 1600."),
        ("What is bread made of?", "Flour, water, yeast and a little salt."),
        ("Tell me about Lisbon.", "It is the capital of Portugal, built on hills."),
        ("What does a baker do?", "A baker makes bread and cakes."),
        ("Is the moon a planet?", "No, it is a satellite of the Earth."),
    ]
    return [
        encode(
            loaded.tokenizer,
            [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}],
            512,
        )
        for ask, answer in said
    ]


@pytest.fixture(scope="module")
def ewc(loaded, dialogues):
    from appliance.train.ewc import Ewc

    return Ewc.estimate(loaded, dialogues, strength=1.0, seed=1)


def kl(loaded, dialogues):
    from appliance.model.likelihood import likelihoods

    found = likelihoods(loaded, dialogues, with_kl=True)
    return sum(f.kl for f in found) / sum(f.tokens for f in found)


def test_every_adapted_layer_is_covered(loaded, ewc, dialogues):
    assert ewc.facts()["layers"] == len(ewc.layers) == 60
    assert ewc.facts()["answer_tokens"] == sum(d.bearing for d in dialogues)
    assert all(float(x.norm()) > 0 for layer in ewc.layers for x in (layer.inputs, layer.gradients))


def test_an_untrained_adapter_has_no_penalty_and_no_gradient(loaded, ewc):
    loaded.model.zero_grad()
    ewc.add_gradients()
    assert ewc.penalty() == 0
    assert all(float(p.grad.abs().max()) == 0 for layer in ewc.layers for p in (layer.a, layer.b))
    loaded.model.zero_grad()


def test_the_penalty_is_the_kl_within_a_factor_of_three_and_its_gradient_leads_back(
    torch, loaded, ewc, dialogues
):
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in ewc.layers:
            layer.b.copy_(torch.randn(layer.b.shape, generator=draw) * 0.1)
    started, far = ewc.penalty(), kl(loaded, dialogues)
    assert far / 3 < started < far * 3
    optimizer = torch.optim.SGD([p for layer in ewc.layers for p in (layer.a, layer.b)], lr=1.0)
    for _ in range(40):
        ewc.add_gradients()
        torch.nn.utils.clip_grad_norm_([p for layer in ewc.layers for p in (layer.a, layer.b)], 0.2)
        optimizer.step()
        optimizer.zero_grad()
    assert ewc.penalty() < started / 2
    assert kl(loaded, dialogues) < 0.9 * far
