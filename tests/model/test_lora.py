"""LoRA's written-out pass beside PEFT's own, layer by layer."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.model


@pytest.fixture
def layers():
    """bias, type -> (PEFT's layer, the same one fused), with B not zero."""
    from appliance.model import backend, dense, lora

    torch = backend.torch()

    def one(bias, kind, dropout, held):
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(0)
        base = torch.nn.Sequential(torch.nn.Linear(48, 32, bias=bias)).to(kind)
        if held:
            dense.hold(base)
        config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=["0"])
        model = get_peft_model(base, config)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = torch.randn(weight.shape) / 4
        if held:
            lora.fuse(model)
        return model

    def make(bias=False, kind=torch.float32, dropout=0.0):
        return one(bias, kind, dropout, False), one(bias, kind, dropout, True)

    return make


def passed(model, x):
    import torch

    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        y = model(x)
    (y.float() ** 2).sum().backward()
    factors = [p.grad for name, p in model.named_parameters() if "lora_" in name]
    return [y.detach(), x.grad, *factors]


@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_peft(layers, bias):
    import torch

    theirs, fused = layers(bias)
    x = torch.randn(3, 5, 48)
    for mine, other in zip(passed(fused, x), passed(theirs, x), strict=True):
        assert mine.dtype == other.dtype
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_in_bf16_it_is_no_further_from_the_exact_values_than_peft(layers):
    import torch

    x = torch.randn(3, 40, 48)
    low = layers(kind=torch.bfloat16)
    exact = passed(low[0].float(), x.bfloat16().float())
    low = layers(kind=torch.bfloat16)

    def off(model):
        found = passed(model, x.bfloat16())
        return [float((m.float() - e).norm() / e.norm()) for m, e in zip(found, exact, strict=True)]

    theirs, mine = map(off, low)
    assert max(mine) < 0.01
    assert all(m < 1.1 * t for m, t in zip(mine, theirs, strict=True)), (mine, theirs)


def test_without_gradients_it_says_the_same(layers):
    import torch

    _, fused = layers()
    x = torch.randn(2, 7, 48)
    with torch.no_grad():
        said = fused(x)
    assert torch.equal(said, passed(fused, x)[0])


def test_what_is_not_plain_is_left_to_peft(layers):
    import torch

    theirs, fused = layers(dropout=0.5)
    x = torch.randn(2, 7, 48)
    for model in (theirs, fused):
        torch.manual_seed(1)
        model.said = model(x)
    assert torch.equal(theirs.said, fused.said)
    with fused.disable_adapter():
        assert torch.equal(fused(x), fused.get_base_model()[0].get_base_layer()(x))


def test_the_embedded_model_trains_by_it():
    from appliance.model import adapter
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    loaded = open_model(ModelSection())
    adapter.attach(loaded, r=4, alpha=8, dropout=0.0, target_modules=("q_proj", "up_proj"), seed=1)
    layers = [m for m in loaded.model.modules() if hasattr(m, "lora_A")]
    assert len(layers) == 60
    assert all("_forward" in repr(layer.forward) for layer in layers)


def test_factors_are_cast_once_while_they_do_not_change_and_anew_afterwards(layers, monkeypatch):
    import torch

    from appliance.model import lora

    _, fused = layers(kind=torch.bfloat16)
    x = torch.randn(2, 7, 48, dtype=torch.bfloat16)
    counted = []
    original = lora._computed_with
    monkeypatch.setattr(lora, "_computed_with", lambda *a: counted.append(1) or original(*a))
    with torch.no_grad():
        first = fused(x)
        with lora.unchanged():
            assert all(torch.equal(fused(x), first) for _ in range(3))
        assert len(counted) == 2
        for name, weight in fused.named_parameters():
            if "lora_B" in name:
                weight.data = weight * 2
        with lora.unchanged():
            assert not torch.equal(fused(x), first)
