"""What rows begin with in common is computed once, and nothing comes out differently."""

from __future__ import annotations

import pytest
from helpers import in_fp32

pytestmark = pytest.mark.model
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def adapted():
    """The base with an adapter that changes something, and a batch of rows."""
    from appliance.model import adapter, backend
    from appliance.model.chat import encode
    from appliance.model.likelihood import block

    loaded = in_fp32()
    adapter.attach(loaded, r=16, alpha=32, dropout=0.0, target_modules=LAYERS, seed=1)
    torch = backend.torch()
    torch.manual_seed(2)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    rows = [
        encode(
            loaded.tokenizer,
            [
                {"role": "user", "content": "Why was my card declined? " * (i + 1)},
                {"role": "assistant", "content": f"reason_{i}"},
            ],
            512,
        )
        for i in range(4)
    ]
    return loaded, *block(rows, loaded.tokenizer)


def _step(adapted):
    """(loss, gradients by name, tokens that went through the first layer)."""
    from appliance.model.likelihood import bearing_logprobs

    loaded, inputs, labels = adapted
    loaded.model.train()
    loaded.model.zero_grad()
    tokens = 0

    def count(module, arguments):
        nonlocal tokens
        tokens += arguments[0].shape[0] * arguments[0].shape[1]

    first = next(m for n, m in loaded.model.named_modules() if n.endswith("layers.0.mlp"))
    hook = first.register_forward_pre_hook(count)
    logprobs, _, target = bearing_logprobs(loaded.model, inputs, labels)
    loss = -logprobs.gather(-1, target[:, None]).mean()
    loss.backward()
    hook.remove()
    grads = {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None}
    return float(loss.detach()), grads, tokens


def test_losses_and_gradients_are_those_of_whole_rows(adapted, monkeypatch):
    from appliance.model import prefix

    loss, grads, tokens = _step(adapted)
    monkeypatch.setattr(prefix, "SHORTEST", 10**9)
    whole_loss, whole_grads, whole_tokens = _step(adapted)
    shared = prefix.common(adapted[1]["input_ids"], adapted[1]["attention_mask"])
    assert shared > 20  # the template's opening and its system prompt
    assert whole_tokens - tokens == 3 * shared  # of four rows, three need not compute it
    assert loss == pytest.approx(whole_loss, rel=1e-4)
    assert grads.keys() == whole_grads.keys()
    for name, grad in grads.items():
        assert (grad - whole_grads[name]).norm() <= 1e-3 * whole_grads[name].norm(), name


def test_padding_is_no_common_beginning():
    import torch

    from appliance.model.prefix import common

    ids = torch.tensor([[7, 8, 9, 1], [7, 8, 9, 2]])
    assert common(ids, torch.ones_like(ids)) == 3
    assert common(ids, torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])) == 0
    assert common(ids[:1], None) == 0
    assert common(torch.tensor([[7, 8], [7, 8]]), None) == 1  # one token is left to each row
