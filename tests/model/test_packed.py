"""Rows packed one behind the other come out as padded ones do, and nothing crosses between them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from helpers import in_fp32

pytestmark = pytest.mark.model
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def loaded():
    """The base in fp32 with an adapter that changes something."""
    from appliance.model import adapter, backend

    loaded = in_fp32()
    adapter.attach(loaded, r=16, alpha=32, dropout=0.0, target_modules=LAYERS, seed=1)
    torch = backend.torch()
    torch.manual_seed(2)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    return loaded


def rows(loaded, count=4, system=None):
    from appliance.model.chat import encode

    begun = [{"role": "system", "content": system}] if system else []
    return [
        encode(
            loaded.tokenizer,
            [
                *begun,
                {"role": "user", "content": "Why was my card declined? " * (i + 1)},
                {"role": "assistant", "content": f"reason_{i}"},
            ],
            512,
        )
        for i in range(count)
    ]


def step(loaded, some):
    """(loss, gradients by name, tokens that went through the first layer)."""
    from appliance.model.likelihood import bearing_logprobs, block

    inputs, labels = block(some, loaded.tokenizer)
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


def lengths(some):
    return sum(len(row.input_ids) for row in some)


@pytest.mark.parametrize("systems", [(None,), (None, "Answer as a pirate would, in rhymes.")])
def test_losses_and_gradients_are_those_of_padded_rows(loaded, systems):
    """With one system prompt, and with two in one batch."""
    from appliance.model.packed import common, whole_rows

    groups = [rows(loaded, system=system) for system in systems]
    some = [row for group in groups for row in group]
    loss, grads, tokens = step(loaded, some)
    with whole_rows():
        padded_loss, padded_grads, padded = step(loaded, some)
    once = sum(3 * common([row.input_ids for row in group]) for group in groups)
    assert padded == len(some) * max(len(row.input_ids) for row in some)
    assert once > 3 * 20  # the template's opening and its system prompt
    assert tokens <= lengths(some) - once
    assert loss == pytest.approx(padded_loss, rel=1e-4)
    assert grads.keys() == padded_grads.keys()
    for name, grad in grads.items():
        assert (grad - padded_grads[name]).norm() <= 1e-3 * padded_grads[name].norm(), name


def test_riders_come_out_as_alone_and_the_batch_does_not_see_them(loaded):
    import torch

    from appliance.model.likelihood import at_bearing, bearing_logits, block
    from appliance.model.packed import Riders, riding

    some = rows(loaded)
    inputs, labels = block(some[:2], loaded.tokenizer)
    theirs, their_labels = block(some[2:], loaded.tokenizer)
    alone, _ = bearing_logits(loaded.model, theirs, their_labels)
    before, _ = bearing_logits(loaded.model, inputs, labels)
    riders = Riders(theirs)
    with riding(riders):
        beside, _ = bearing_logits(loaded.model, inputs, labels)
        ridden = riders.hidden
        bearing_logits(loaded.model, inputs, labels)  # they ride once
    assert riders.hidden is ridden
    together = loaded.model.get_output_embeddings()(at_bearing(riders.hidden, their_labels))
    torch.testing.assert_close(beside, before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)
    together.sum().backward()  # gradients lead back
    with torch.no_grad(), riding(Riders(theirs)) as _:
        bearing_logits(loaded.model, inputs, labels)


def test_without_gradients_nothing_rides(loaded):
    import torch

    from appliance.model.likelihood import bearing_logits, block
    from appliance.model.packed import Riders, riding

    riders = Riders(block(rows(loaded)[2:], loaded.tokenizer)[0])
    with torch.no_grad(), riding(riders):
        bearing_logits(loaded.model, *block(rows(loaded)[:2], loaded.tokenizer))
    assert riders.hidden is None


def test_rows_that_are_padded_on_the_left_are_left_as_they_are():
    import torch

    from appliance.model.packed import _is_plain

    ids = torch.tensor([[7, 8, 9], [7, 8, 9]])
    assert _is_plain(ids, None)
    assert _is_plain(ids, torch.tensor([[1, 1, 1], [1, 1, 0]]))
    assert not _is_plain(ids, torch.tensor([[1, 1, 1], [0, 1, 1]]))


def test_each_token_sees_its_own_row_up_to_itself_and_what_is_shared():
    import torch

    from appliance.model.packed import Pieces, _layout

    begun, prompt = list(range(1, 11)), list(range(21, 31))
    given = [[*begun, 91, 92], [*begun, *prompt, 93], [5, 6, 7], [*begun, *prompt, 94, 95]]
    pieces = Pieces(given)
    # The beginning once for three rows, and the prompt once for its two answers.
    assert sorted(pieces.tokens) == sorted([*begun, *prompt, 91, 92, 93, 94, 95, 5, 6, 7])
    assert [[pieces.tokens[place] for place in row] for row in pieces.places] == given
    for row in pieces.places:
        assert [pieces.positions[place] for place in row] == list(range(len(row)))
    layout, mask = _layout(pieces, torch.nn.Linear(1, 1))
    sees = {}
    for piece, queries in enumerate(layout.queries.tolist()):
        for offset, place in enumerate(queries):
            if int(layout.back[place]) == piece * layout.queries.shape[1] + offset:
                shown = (mask[piece, 0, offset] == 0).tolist()
                keys = layout.keys[piece].tolist()
                sees[place] = [k for k, on in zip(keys, shown, strict=True) if on]
    for row in pieces.places:
        for number, place in enumerate(row):
            assert sees[place] == row[: number + 1]


def test_a_model_that_mixes_tokens_elsewhere_too_is_not_packed(loaded):
    """As one with a convolution or a recurrent state between its layers would."""
    from appliance.model import attention, packed

    inner = loaded.model.get_base_model().model
    plain = inner.forward.__wrapped__

    def leaking(*args, **kwargs):
        out = plain(*args, **kwargs)
        out.last_hidden_state = out.last_hidden_state + out.last_hidden_state.cumsum(1) / 8
        return out

    decoder = SimpleNamespace(
        forward=leaking, eval=inner.eval, train=inner.train, training=inner.training,
        parameters=inner.parameters,
    )  # fmt: skip
    config = SimpleNamespace(_attn_implementation=attention.NAME)
    packed.pack(SimpleNamespace(base_model=decoder, config=config))
    assert decoder.forward is leaking
    decoder.forward = plain
    packed.pack(SimpleNamespace(base_model=decoder, config=config))
    assert decoder.forward is not plain


def test_where_rows_are_not_packed_like_lengths_come_together(loaded):
    from appliance.model.load import open_model
    from appliance.recipe import load
    from appliance.run import RunDir
    from appliance.sections.source import ModelSection
    from appliance.train.skeleton import training_arguments

    def order(of):
        found = training_arguments(load("sft"), RunDir("run"), of, False, 100)
        return found["train_sampling_strategy"]

    assert loaded.packs
    assert order(loaded) == "random"
    recomputing = open_model(ModelSection(), gradient_checkpointing=True)
    assert not recomputing.packs
    assert order(recomputing) == "group_by_length"
