"""Weights that are laid out for products give the layer's own values and gradients."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.model


def layer(bits, bias, kind):
    import torch
    from bitsandbytes.nn import Linear4bit

    torch.manual_seed(0)
    plain = torch.nn.Linear(128, 192, bias=bias, dtype=kind)
    if bits == 16:
        return torch.nn.Sequential(plain.requires_grad_(False))
    made = Linear4bit(128, 192, bias=bias, compute_dtype=kind, quant_type="nf4")
    made.load_state_dict(plain.state_dict())
    return torch.nn.Sequential(made.to("cpu").requires_grad_(False))


def passed(model, x):
    x = x.clone().requires_grad_()
    y = model(x)
    (y.float() ** 2).sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bits", [4, 16])
def test_values_and_gradients_are_the_layers_own(bits, bias, kind):
    import torch

    from appliance.model import dense

    kind = getattr(torch, kind)
    theirs, held = layer(bits, bias, kind), layer(bits, bias, kind)
    dense.hold(held)
    assert held[0].held.dtype == kind
    off = 1e-5 if kind == torch.float32 else 0.01
    x = torch.randn(3, 5, 128, dtype=kind)
    for mine, other in zip(passed(held, x), passed(theirs, x), strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        assert float((mine - other).float().norm() / other.float().norm()) < off
    values, _ = passed(held, x)
    with torch.inference_mode():
        assert torch.equal(held(x), values)


def test_without_onednns_products_it_is_the_weight_as_it_lies(monkeypatch):
    import torch

    from appliance.model import dense

    monkeypatch.setattr(dense, "_reorders", lambda kind: False)
    theirs, held = (layer(4, True, torch.float32) for _ in range(2))
    dense.hold(held)
    x = torch.randn(7, 128)
    for mine, other in zip(passed(held, x), passed(theirs, x), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_model_of_16_bit_computes_to_the_bit_as_it_did():
    import torch

    from appliance.model import dense

    theirs, held = (layer(16, True, torch.bfloat16) for _ in range(2))
    dense.hold(held)
    x = torch.randn(3, 70, 128, dtype=torch.bfloat16)
    for mine, other in zip(passed(held, x), passed(theirs, x), strict=True):
        assert torch.equal(mine, other)


def test_what_is_too_large_stays_in_4_bit(monkeypatch):
    import torch

    from appliance.model import dense

    four = layer(4, False, torch.bfloat16)
    monkeypatch.setattr(dense, "MOST", 128 * 192)
    dense.hold(four)
    assert not hasattr(four[0], "held")


def test_an_output_layer_is_laid_out_beside_4_bit_alone():
    import torch

    from appliance.model import dense

    for bits in (4, 16):
        model = torch.nn.Sequential(*layer(bits, False, torch.bfloat16), torch.nn.Linear(192, 300))
        dense.hold(model)
        assert model[1].held._lays_out == (bits == 4)


def test_a_layer_that_is_let_go_computes_with_what_its_weight_becomes():
    import torch

    from appliance.model import dense

    model = layer(16, False, torch.float32)
    dense.hold(model)
    dense.let_go(model)
    model[0].weight.data = torch.zeros(192, 128)
    assert not model(torch.randn(2, 128)).any()
