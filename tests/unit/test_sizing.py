"""A model's weights and a step's memory, against figures that others published."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import COUNTED, LLAMA2_7B, LLAMA_8B, LLAMA_70B, config

from appliance.errors import BadInput, ModelError
from appliance.memory import GIB
from appliance.recipe import load
from appliance.sizing import cards, memory
from appliance.sizing.batch import divisor
from appliance.sizing.memory import Setting
from appliance.sizing.shape import ATTENTION, EMBEDDED, MLP, shape

ALL = (*ATTENTION, *MLP)


@pytest.mark.parametrize("name", COUNTED)
def test_a_config_gives_the_number_of_weights_that_the_hub_counts(name):
    given, weights = COUNTED[name]
    assert shape(given).weights == weights


@pytest.mark.parametrize(
    ("given", "r", "targets", "trained"),
    [
        # "Trainable parameters": Unsloth's notebooks for Llama-3 8B and Llama-3.2 1B and 3B, r=16.
        (LLAMA_8B, 16, ALL, 41_943_040),
        (COUNTED["Llama-3.2-1B"][0], 16, ALL, 11_272_192),
        (COUNTED["Llama-3.2-3B"][0], 16, ALL, 24_313_856),
        # PEFT's documented LoRA of Llama-2-7b, r=8 on q_proj and v_proj.
        (LLAMA2_7B, 8, ("q_proj", "v_proj"), 4_194_304),
        (EMBEDDED, 16, ALL, 4_884_480),  # weights_trained of train.json
    ],
)
def test_an_adapter_trains_as_many_weights_as_published_runs_say(given, r, targets, trained):
    assert shape(given).adapter_weights(r, targets) == trained


def test_a_dora_has_one_number_more_for_each_row():
    model = shape(EMBEDDED)
    rows = 30 * (576 + 192 + 192 + 576 + 1536 + 1536 + 576)
    assert model.adapter_weights(8, ALL, True) - model.adapter_weights(8, ALL) == rows


def test_what_cannot_be_counted_is_refused_by_name():
    with pytest.raises(ModelError, match=r"mixtral .*cannot be reckoned.*These can: llama"):
        shape(config("mixtral", 4096, 14336, 32, 32, 8, 32000))
    with pytest.raises(ModelError, match="does not say hidden_size"):
        shape({"model_type": "llama"})
    with pytest.raises(ModelError, match="no layers named lm_head"):
        shape(EMBEDDED).adapter_weights(8, ("q_proj", "lm_head"))


def on_gpu(rows: int, length: int, r: int = 32, **more) -> Setting:
    return Setting(True, 4, "lora", r, ALL, True, rows, length, **more)


# Unsloth's benchmarks (unsloth.ai/docs/basics/unsloth-benchmarks): the longest row that a card
# trains on, 4-bit QLoRA r=32 on all linear layers, one row at a time.
LONGEST = [
    (LLAMA_8B, 8, 2_972), (LLAMA_8B, 12, 21_848), (LLAMA_8B, 16, 40_724), (LLAMA_8B, 24, 78_475),
    (LLAMA_8B, 40, 153_977), (LLAMA_8B, 48, 191_728), (LLAMA_8B, 80, 342_733),
    (LLAMA_70B, 48, 12_106), (LLAMA_70B, 80, 89_389),
]  # fmt: skip


@pytest.mark.parametrize(("given", "gib", "tokens"), LONGEST)
def test_the_longest_rows_that_unsloth_trains_on_fill_their_cards(given, gib, tokens):
    needed = memory.total(memory.step(shape(given), on_gpu(1, tokens))) / GIB
    assert needed == pytest.approx(gib, rel=0.05)


def test_nf4_is_as_large_as_the_qlora_paper_says():
    assert pytest.approx(4.127, abs=1e-3) == memory.NF4 * 8
    # Double quantization saves 0.373 bits of each weight, "approximately 3 GB for a 65B model".
    without = (4 + 32 / 64) / 8
    assert 65e9 * (without - memory.NF4) / 1e9 == pytest.approx(3, rel=0.02)


def test_a_finetuned_65b_takes_what_the_qlora_paper_says():
    # Table 6: Guanaco 65B trains in 41 GB and 33B in 21 GB, LoRA r=64 on all linear layers; its
    # adapter is in 16 bit and its optimizer paged out, so only weights and adapter are compared.
    for hidden, inner, layers, heads, gigabytes in ((8192, 22016, 80, 64, 41),
                                                    (6656, 17920, 60, 52, 21)):  # fmt: skip
        model = shape(config("llama", hidden, inner, layers, heads, heads, 32000))
        parts = memory.step(model, on_gpu(1, 512, 64))
        held = parts["weights"] + parts["embedding"] + parts["adapter"] + parts["activations"]
        assert held / 1e9 == pytest.approx(gigabytes, rel=0.12)


def test_parts_of_a_step_by_hand():
    model = shape(EMBEDDED)
    parts = memory.step(model, on_gpu(4, 100, 16))
    assert parts["embedding"] == (49152 * 576 + 30 * 2 * 576 + 576) * 2
    assert parts["adapter"] == parts["gradients"] == 4_884_480 * 4
    assert parts["optimizer"] == pytest.approx(4_884_480 * 2, rel=0.02)
    assert parts["activations"] == 400 * 2 * (6 * 1536 + 7 * 576)
    sixteen = memory.step(model, replace(on_gpu(4, 100, 16), bits=16))
    assert sixteen["weights"] == model.linear_weights * 2


def test_on_a_cpu_small_weights_lie_dequantized_beside_their_four_bits_and_adam_is_fp32():
    small, large = shape(EMBEDDED), shape(LLAMA_8B)
    setting = replace(on_gpu(1, 64, 16), gpu=False, checkpointing=False)
    assert memory.step(small, setting)["weights"] / small.linear_weights > 4.5
    assert memory.step(large, setting)["weights"] / large.linear_weights < 0.6
    assert memory.step(small, setting)["optimizer"] == 4_884_480 * 8


def test_the_rows_at_once_are_the_most_that_fit_and_divide_the_batch():
    model = shape(LLAMA_8B)
    one = on_gpu(1, 4096, 16)
    for gib in (8, 12, 16, 24):
        rows = memory.most_rows(model, one, gib * GIB, 12)
        held = memory.total(memory.step(model, replace(one, rows=rows)))
        assert rows
        assert 12 % rows == 0
        assert held <= gib * GIB
        more = next((m for m in range(rows + 1, 13) if 12 % m == 0), None)
        if more:
            assert memory.total(memory.step(model, replace(one, rows=more))) > gib * GIB
    assert memory.most_rows(model, one, 5 * GIB, 12) == 0
    assert [divisor(12, n) for n in (0, 1, 5, 7, 12, 99)] == [1, 1, 4, 6, 12, 12]


def test_the_recipe_decides_what_is_reckoned():
    recipe = load("sft", ["adapter.kind=dora", "adapter.r=8", "model.bits=16"])
    setting = Setting.of(recipe, gpu=True, rows=2, length=10)
    assert (setting.bits, setting.kind, setting.r, setting.checkpointing) == (16, "dora", 8, True)
    assert not Setting.of(recipe, gpu=False, rows=2, length=10).checkpointing


@pytest.mark.parametrize("name", ["rtx4090", "RTX 4090", "4090", "NVIDIA GeForce RTX 4090"])
def test_a_card_is_found_by_any_of_its_names(name):
    assert cards.find(name).key == "rtx4090"


def test_an_unknown_card_is_answered_with_the_nearest():
    with pytest.raises(BadInput, match=r"no card rtx4091.*Did you mean rtx4090") as error:
        cards.find("rtx4091")
    assert "h200" in str(error.value)


@pytest.mark.parametrize(
    ("said", "gib", "key"),
    [
        ("NVIDIA GeForce RTX 3090", 24.0, "rtx3090"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "a100-40"),
        ("NVIDIA A100 80GB PCIe", 79.2, "a100-80"),
        ("NVIDIA H100 80GB HBM3", 79.6, "h100"),
        ("NVIDIA H100 PCIe", 79.6, "h100-pcie"),
        ("Tesla T4", 15.0, "t4"),
        ("NVIDIA L4", 22.5, "l4"),
        ("NVIDIA L40S", 45.0, "l40s"),
        ("NVIDIA RTX A6000", 48.0, "rtxa6000"),
    ],
)
def test_what_the_driver_calls_a_card_is_recognized(said, gib, key):
    found = cards.of_device(said, gib)
    assert (found.key, found.memory) == (key, gib)


def test_a_card_outside_the_table_has_its_memory_and_no_speed():
    found = cards.of_device("NVIDIA RTX PRO 6000", 95.6)
    assert (found.memory, found.rate, found.price) == (95.6, None, None)


def test_rates_are_the_dense_ones():
    # With sparsity data sheets say twice as much; none is above NVIDIA's dense figure of an H100.
    assert all(card.rate and card.rate <= 989 for card in cards.CARDS)
    assert (cards.find("l40s").rate, cards.find("l4").rate) == (362, 121)
    assert {card.key for card in cards.CARDS if not card.bf16} == {"t4"}


def test_a_price_is_what_was_given_or_what_is_listed():
    card = cards.find("h100")
    listed = cards.price(card)
    assert listed is not None
    assert (listed.per_hour, listed.date) == (2.69, "2026-09-25")
    given = cards.price(card, 0.5)
    assert given is not None
    assert given.per_hour == 0.5
    assert cards.price(None) is cards.price(cards.find("rtx3060")) is None
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(BadInput, match=r"price of .* is none"):
            cards.price(card, wrong)


def test_a_pair_has_one_prompt_and_the_logits_of_both_its_answers():
    row = replace(on_gpu(4, 300, 16), gpu=False, checkpointing=False)
    pair = replace(row, pairs=True, twice=140.0)
    model = shape(EMBEDDED)
    each = memory.kept_on_cpu(30, 1536, 576, 2)
    one, two = memory.step(model, row), memory.step(model, pair)
    assert one["activations"] - two["activations"] == pytest.approx(4 * 140 * each)
    assert two["logits"] == 4 * 300 * 49152 * 4


def test_in_fp32_what_is_computed_with_takes_twice_as_much():
    half = replace(on_gpu(4, 300, 16), gpu=False, checkpointing=False, pairs=True)
    model = shape(EMBEDDED)
    narrow, wide = memory.step(model, half), memory.step(model, replace(half, width=4))
    for part in ("embedding", "activations", "logits"):
        assert wide[part] == 2 * narrow[part]
    for part in ("adapter", "optimizer", "process"):
        assert wide[part] == narrow[part]
    # Of the linear layers what is laid out, both ways; the pages of the file are of 16 bit.
    laid_out = model.linear_weights + model.output_weights
    assert wide["weights"] - narrow["weights"] == 2 * laid_out * 2
