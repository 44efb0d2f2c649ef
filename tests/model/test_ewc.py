"""Elastic weight consolidation: its factors, its gradient, and that it leads back to the base."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from appliance.errors import RecipeError

pytestmark = pytest.mark.model

IGNORE = -100
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def torch():
    from appliance.model import backend

    return backend.torch()


# ---- the closed form, on layers made by hand ----


def made(torch, shapes, dtype):
    """Layers of random numbers: (d_in, d_out, r, scale) each; three inputs, five gradients."""
    from appliance.train.ewc import Layer

    draw = torch.Generator().manual_seed(3)

    def random(*size):
        return torch.randn(size, generator=draw, dtype=dtype)

    layers = []
    for d_in, d_out, r, scale in shapes:
        a, b = random(r, d_in).requires_grad_(), random(d_out, r).requires_grad_()
        layers.append(Layer(a, b, scale, random(3, d_in), random(5, d_out)))
    return layers


def dense(torch, layers):
    """1/2 vec(dW)' F vec(dW), every block of F (also between two layers) written out whole."""
    total = 0.0
    for one in layers:
        for two in layers:
            f_in, f_out = one.inputs.T @ two.inputs, one.gradients.T @ two.gradients
            left, right = ((x.scale * x.b @ x.a).flatten() for x in (one, two))
            total = total + left @ torch.kron(f_out, f_in) @ right / 2
    return total


@pytest.mark.parametrize(
    "shapes",
    [
        [(4, 4, 2, 1.0)],
        [(7, 5, 2, 0.25)],
        [(5, 9, 4, 2.0), (9, 3, 2, 0.5), (5, 5, 1, 4.0)],
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_penalty_and_gradient_are_those_of_the_dense_definition(torch, shapes, dtype):
    from appliance.train.ewc import Ewc

    layers = made(torch, shapes, getattr(torch, dtype))
    ewc = Ewc(layers, strength=3.0)
    whole = dense(torch, layers)
    assert ewc.penalty() == pytest.approx(float(whole), rel=1e-5)
    parameters = [p for layer in layers for p in (layer.a, layer.b)]
    wanted = torch.autograd.grad(3.0 * whole, parameters)
    before = [torch.full_like(p, 0.5) for p in parameters]
    for parameter, gradient in zip(parameters[1:], before[1:], strict=True):
        parameter.grad = gradient.clone()  # the first has none yet
    ewc.add_gradients()
    parameters[0].grad += 0.5
    for parameter, gradient in zip(parameters, wanted, strict=True):
        error = (parameter.grad - 0.5 - gradient).norm() / gradient.norm()
        assert float(error) < 1e-5
    assert ewc.facts()["last_penalty"] == pytest.approx(float(whole), rel=1e-5)


# ---- many dialogues in few rows ----


def test_rows_that_fit_keep_their_products_exactly(torch):
    from appliance.train.ewc import fold

    rows = torch.randn(6, 9, dtype=torch.float64)
    factor = torch.zeros(8, 9, dtype=torch.float64)
    fold(factor, rows[:4], torch.tensor([[1.0], [-1], [-1], [1]]), 0)
    fold(factor, rows[4:], torch.tensor([[-1.0], [1]]), 4)
    assert torch.allclose(factor.T @ factor, rows.T @ rows)


def test_more_rows_than_fit_are_right_in_the_mean_and_err_as_said(torch):
    from appliance.train.ewc import fold

    draw = torch.Generator().manual_seed(1)
    rows = torch.randn(300, 12, generator=draw)
    direction = torch.randn(12, generator=draw)
    found = []
    for _ in range(300):
        factor = torch.zeros(32, 12)
        fold(factor, rows, torch.randint(0, 2, (300, 1), generator=draw) * 2.0 - 1, 0)
        found.append(float((factor @ direction).square().sum()))
    ratio = torch.tensor(found) / (rows @ direction).square().sum()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)
    assert float(ratio.std()) == pytest.approx((2 / 32) ** 0.5, rel=0.25)


# ---- what is estimated, on a model small enough to compute it by brute force ----

ROWS = (
    ([5, 9, 7, 3, 8], [IGNORE, IGNORE, 7, 3, 8]),
    ([4, 6, 2], [IGNORE, 6, 2]),
    ([1, 2, 3, 4, 5, 6, 7], [IGNORE] * 4 + [5, 6, 7]),
)


def rows():
    from appliance.model.chat import Encoded

    return [Encoded(ids, labels, False) for ids, labels in ROWS]


def tiny(targets=TARGETS, checkpointing=None, **options):
    """A LLaMA of two layers in fp32 with a LoRA adapter on it."""
    from appliance.model import backend
    from appliance.model.load import Loaded

    torch = backend.torch()
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    base = LlamaForCausalLM(config).to(backend.device())
    if checkpointing is not None:
        base.gradient_checkpointing_enable({"use_reentrant": checkpointing})
    model = get_peft_model(base, LoraConfig(r=2, target_modules=list(targets), **options))
    return Loaded(None, model.train(), SimpleNamespace(pad_token_id=0), 64)


def estimate(loaded, count=3, strength=1.0):
    from appliance.train.ewc import Ewc

    return Ewc.estimate(loaded, rows()[:count], strength=strength, seed=7)


def by_hand(torch, loaded, name, row, targets):
    """(mean input, summed output gradient) of one layer for one row alone."""
    from appliance.model.adapter import switched_off

    kept = {}

    def keep(module, args, output):
        kept["x"], kept["y"] = args[0].detach(), output

    base = loaded.model.get_submodule(name).base_layer
    base.weight.requires_grad_(True)  # so that there is a graph
    hook = base.register_forward_hook(keep)
    place = base.weight.device
    with switched_off(loaded):
        logits = loaded.model(input_ids=torch.tensor([row.input_ids], device=place)).logits[0]
        bearing = torch.tensor(row.labels[1:]) != IGNORE
        chosen = torch.log_softmax(logits[:-1], -1)[bearing].gather(-1, targets[:, None])
        (gradient,) = torch.autograd.grad(chosen.sum(), kept["y"])
    hook.remove()
    base.weight.requires_grad_(False)
    return kept["x"][0].mean(0), gradient[0].sum(0)


@pytest.mark.parametrize("layer", ["layers.0.self_attn.k_proj", "layers.1.mlp.down_proj"])
def test_a_layers_rows_are_those_of_each_dialogue_by_brute_force(torch, monkeypatch, layer):
    from appliance.train.ewc import adapted, dialogue_rows

    loaded = tiny()
    drawn, multinomial = [], torch.multinomial

    def sample(*args, **kwargs):
        drawn.append(multinomial(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(torch, "multinomial", sample)
    modules = adapted(loaded.model)
    name = next(n for n in modules if n.endswith(layer))
    draw = torch.Generator(device=loaded.model.device).manual_seed(1)
    found, places = dialogue_rows(loaded, modules, rows(), draw)
    assert places == 8
    x, g = found[list(modules).index(name)]
    first = 0
    for index, row in enumerate(rows()):
        targets = drawn[0][first : first + row.bearing, 0]
        first += row.bearing
        mean, total = by_hand(torch, loaded, name, row, targets)
        assert torch.allclose(x[index], mean, rtol=1e-4, atol=1e-6)
        assert torch.allclose(g[index], total, rtol=1e-4, atol=1e-6)


def test_the_targets_are_the_models_own_not_the_rows(torch):
    """The mean score of a model's own samples is zero; of given answers it is not."""
    from appliance.model.chat import Encoded
    from appliance.train.ewc import adapted, dialogue_rows

    loaded = tiny()
    modules = adapted(loaded.model)
    row = Encoded([5, 9, 7, 3, 8], [IGNORE, IGNORE, 7, 3, 8], False)
    draw = torch.Generator(device=loaded.model.device).manual_seed(2)
    found, _ = dialogue_rows(loaded, modules, [row] * 600, draw)
    g = found[-1][1]
    error = g.std(0) / 600**0.5
    assert float((g.mean(0).abs() / error).max()) < 4.5


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_blocks_give_the_same_factors(torch, reentrant):
    plain, twice = estimate(tiny()), estimate(tiny(checkpointing=reentrant))
    for one, two in zip(plain.layers, twice.layers, strict=True):
        assert torch.allclose(one.inputs, two.inputs, atol=1e-6)
        assert torch.allclose(one.gradients, two.gradients, atol=1e-5)


def test_a_trained_adapter_is_estimated_at_its_base_and_left_as_it_was(torch):
    loaded = tiny()
    fresh = estimate(loaded)
    with torch.no_grad():
        for layer in fresh.layers:
            layer.b.normal_(0, 0.5)
    later = estimate(loaded)
    for one, two in zip(fresh.layers, later.layers, strict=True):
        assert torch.allclose(one.gradients, two.gradients, atol=1e-6)
    assert loaded.model.training
    assert all(layer.a.requires_grad and layer.a.grad is None for layer in later.layers)
    assert later.penalty() > 0


@pytest.mark.parametrize("options", [{"alpha": 8}, {"alpha": 8, "stabilized": True}])
def test_the_scale_is_the_adapters_own(options):
    loaded = tiny(lora_alpha=8, use_rslora=options.get("stabilized", False))
    assert estimate(loaded).layers[0].scale == pytest.approx(
        8 / (2**0.5 if options.get("stabilized") else 2)
    )


def test_more_dialogues_than_rows_still_estimate_the_penalty(torch, monkeypatch):
    from appliance.model.chat import Encoded
    from appliance.train import ewc

    loaded = tiny()
    draw = torch.Generator().manual_seed(0)
    many = [
        Encoded(ids, [IGNORE] * 4 + ids[4:], False)
        for ids in torch.randint(1, 40, (256, 8), generator=draw).tolist()
    ]
    whole = ewc.Ewc.estimate(loaded, many[:128], strength=1.0, seed=7)
    with torch.no_grad():
        for layer in whole.layers:
            layer.b.normal_(0, 0.1)
    monkeypatch.setattr(ewc, "ROWS", 64)
    folded = ewc.Ewc.estimate(loaded, many, strength=1.0, seed=7)
    assert folded.facts()["rows_kept"] == 64
    assert folded.facts()["dialogues"] == 256
    assert folded.penalty() == pytest.approx(whole.penalty(), rel=0.5)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"use_dora": True}, "lora_magnitude_vector"),
        ({"modules_to_save": ["embed_tokens"]}, "embed_tokens"),
        ({"targets": (*TARGETS, "lm_head")}, "lm_head"),
    ],
)
def test_what_it_cannot_penalize_is_refused_by_name(options, names):
    with pytest.raises(RecipeError, match=rf"ewc\.strength.*{names}") as caught:
        estimate(tiny(**options))
    assert caught.value.do


def test_a_model_without_an_adapter_is_refused():
    loaded = tiny()
    loaded.model = loaded.model.unload()
    with pytest.raises(RecipeError, match=r"ewc\.strength"):
        estimate(loaded)
