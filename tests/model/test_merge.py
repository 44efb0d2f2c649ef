"""Merging with weights one can add up by hand."""

from __future__ import annotations

import json

import pytest

from appliance.errors import ModelError, NoSpace, RunError
from appliance.export.merge import merge
from appliance.model import adapter as peft_files
from appliance.model import full

torch = pytest.importorskip("torch")
NAME = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def base(tmp_path):
    """Two shards: W = 10 everywhere (3 x 2), and an embedding of ones that no adapter touches."""
    from safetensors.torch import save_file

    folder = tmp_path / "base"
    folder.mkdir()
    meta = {"format": "pt"}
    save_file({NAME: torch.full((3, 2), 10.0)}, folder / "model-1.safetensors", metadata=meta)
    save_file({"embed": torch.ones(4, 2, dtype=torch.bfloat16)}, folder / "model-2.safetensors")
    (folder / "config.json").write_text('{"model_type":  "llama"}')
    (folder / "tokenizer.json").write_bytes(b'{"odd":\t"bytes \xc3\xa9"}\r\n')
    return folder


def adapter(
    tmp_path, *, r=1, alpha=2, layer="model.layers.0.mlp.up_proj", b=(1, 0, -1), m=None, **config
):
    """A = [1 2], B = [1 0 -1]^T, so BA = [[1 2] [0 0] [-1 -2]]; alpha / r = 2."""
    from safetensors.torch import save_file

    folder = tmp_path / "adapter"
    folder.mkdir(exist_ok=True)
    stem = f"base_model.model.{layer}"
    tensors = {
        f"{stem}.lora_A.weight": torch.tensor([[1.0, 2.0]]),
        f"{stem}.lora_B.weight": torch.tensor([[float(x)] for x in b]),
    }
    if m is not None:
        tensors[f"{stem}.lora_magnitude_vector"] = torch.tensor([float(x) for x in m])
    save_file(tensors, folder / peft_files.WEIGHTS)
    (folder / "adapter_config.json").write_text(json.dumps({"r": r, "lora_alpha": alpha, **config}))
    return folder


def tuned(tmp_path, tied=None, **more):
    """All weights of a full fine-tuning: W is 10 + 2 BA of above, and the embedding is 3."""
    from safetensors.torch import save_file

    folder = tmp_path / "tuned"
    folder.mkdir()
    weights = {
        NAME: torch.tensor([[12.0, 14.0], [10.0, 10.0], [8.0, 6.0]]),
        "embed": torch.full((4, 2), 3.0, dtype=torch.bfloat16),
    }
    save_file(weights | more, folder / full.WEIGHTS)
    (folder / full.CONFIG).write_text(json.dumps({"kind": "none", "tied": tied or {}}))
    return folder


def tensors_in(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model-1.safetensors") | load_file(folder / "model-2.safetensors")


def merged(folder):
    return tensors_in(folder)[NAME].tolist()


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (1.0, [[12.0, 14.0], [10.0, 10.0], [8.0, 6.0]]),
        (0.5, [[11.0, 12.0], [10.0, 10.0], [9.0, 8.0]]),
        (0.0, [[10.0, 10.0], [10.0, 10.0], [10.0, 10.0]]),
    ],
)
def test_the_merge_is_w_plus_strength_times_scale_times_b_a(tmp_path, base, strength, expected):
    merge(base, adapter(tmp_path), tmp_path / "out", strength)
    assert merged(tmp_path / "out") == expected


def test_rank_stabilized_adapters_are_scaled_by_the_root_of_the_rank(tmp_path, base):
    # r in the config alone: alpha / sqrt(4) = 2, as above.
    folder = adapter(tmp_path, r=4, alpha=4, use_rslora=True)
    merge(base, folder, tmp_path / "out", 1.0)
    assert merged(tmp_path / "out")[0] == [12.0, 14.0]


def test_what_is_not_adapted_and_what_is_no_weight_stays_byte_for_byte(tmp_path, base):
    merge(base, adapter(tmp_path), tmp_path / "out", 1.0)
    for name in ("tokenizer.json", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()
    from safetensors.torch import load_file

    assert load_file(tmp_path / "out" / "model-2.safetensors")["embed"].dtype == torch.bfloat16


def test_an_adapter_of_another_base_is_refused_and_the_earlier_export_stays(tmp_path, base):
    out = tmp_path / "out"
    merge(base, adapter(tmp_path), out, 1.0)
    with pytest.raises(ModelError, match="has no model"):
        merge(base, adapter(tmp_path, layer="model.layers.7.mlp.up_proj"), out, 1.0)
    assert merged(out)[0] == [12.0, 14.0]
    assert not list(tmp_path.glob(".*.part"))


def test_a_layer_of_another_shape_is_refused(tmp_path, base):
    from safetensors.torch import save_file

    save_file({NAME: torch.zeros(3, 5)}, base / "model-1.safetensors")
    with pytest.raises(ModelError, match=r"\(3, 5\)"):
        merge(base, adapter(tmp_path), tmp_path / "out", 1.0)


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (1.0, [[4.0, 3.0], [15.0, 0.0], [0.0, -20.0]]),
        (0.5, [[7.0, 6.5], [12.5, 5.0], [5.0, -5.0]]),
        (0.0, [[10.0, 10.0], [10.0, 10.0], [10.0, 10.0]]),
    ],
)
def test_doras_rows_get_the_trained_length_and_strength_scales_the_change(
    tmp_path, base, strength, expected
):
    # W + 2 BA = [[8 6] [5 0] [0 -10]]: its rows are 10, 5 and 10 long, and are to be 5, 15 and 20.
    folder = adapter(tmp_path, b=(-1, -2.5, -5), m=(5, 15, 20), use_dora=True)
    facts = merge(base, folder, tmp_path / "out", strength)
    assert merged(tmp_path / "out") == expected
    assert (facts["kind"], facts["layers"], facts["scale"]) == ("dora", 1, 2)


def test_a_rank_stabilized_dora_has_both(tmp_path, base):
    folder = adapter(tmp_path, r=4, alpha=4, b=(-1, -2.5, -5), m=(5, 15, 20), use_dora=True,
                     use_rslora=True)  # fmt: skip
    merge(base, folder, tmp_path / "out", 1.0)
    assert merged(tmp_path / "out") == [[4.0, 3.0], [15.0, 0.0], [0.0, -20.0]]


@pytest.mark.parametrize("wrong", [{"m": (5, 15, 20)}, {"use_dora": True}])
def test_magnitudes_without_dora_and_dora_without_magnitudes_are_refused(tmp_path, base, wrong):
    with pytest.raises(RunError, match="factor"):
        merge(base, adapter(tmp_path, **wrong), tmp_path / "out", 1.0)


def test_other_kinds_are_refused_rather_than_merged_wrongly(tmp_path, base):
    with pytest.raises(RunError, match="alpha_pattern"):
        merge(base, adapter(tmp_path, alpha_pattern={"up_proj": 8}), tmp_path / "out", 1.0)


@pytest.mark.parametrize(
    ("strength", "expected", "embedding"),
    [
        (1.0, [[12.0, 14.0], [10.0, 10.0], [8.0, 6.0]], 3.0),
        (0.5, [[11.0, 12.0], [10.0, 10.0], [9.0, 8.0]], 2.0),
        (0.0, [[10.0, 10.0], [10.0, 10.0], [10.0, 10.0]], 1.0),
    ],
)
def test_a_full_fine_tuning_is_merged_between_the_base_and_itself(
    tmp_path, base, strength, expected, embedding
):
    # The base has the tied embedding under one name alone.
    folder = tuned(tmp_path, tied={"lm_head.weight": "embed"})
    facts = merge(base, folder, tmp_path / "out", strength)
    found = tensors_in(tmp_path / "out")
    assert found[NAME].tolist() == expected
    assert found["embed"].tolist() == [[embedding] * 2] * 4
    assert found["embed"].dtype == torch.bfloat16
    assert found.keys() == {NAME, "embed"}
    assert (facts["kind"], facts["layers"]) == ("none", 2)


def test_a_base_that_holds_tied_weights_twice_gets_the_change_twice(tmp_path, base):
    from safetensors.torch import save_file

    ones = torch.ones(4, 2, dtype=torch.bfloat16)
    save_file({"embed": ones, "lm_head.weight": ones.clone()}, base / "model-2.safetensors")
    merge(base, tuned(tmp_path, tied={"lm_head.weight": "embed"}), tmp_path / "out", 1.0)
    found = tensors_in(tmp_path / "out")
    assert found["embed"].tolist() == found["lm_head.weight"].tolist() == [[3.0] * 2] * 4


def test_tuned_weights_of_another_base_are_refused(tmp_path, base):
    with pytest.raises(ModelError, match=r"has no norm\.weight"):
        merge(base, tuned(tmp_path, **{"norm.weight": torch.ones(2)}), tmp_path / "out", 1.0)


@pytest.mark.parametrize("kind", ["lora", "dora", "none"])
def test_strength_0_is_the_base_to_the_bit_even_its_negative_zeros(tmp_path, base, kind):
    from safetensors.torch import save_file

    weight = torch.full((3, 2), -0.0)
    save_file({NAME: weight}, base / "model-1.safetensors", metadata={"format": "pt"})
    if kind == "none":
        folder = tuned(tmp_path)
    else:
        more = {"m": (1, 1, 1), "use_dora": True} if kind == "dora" else {}
        folder = adapter(tmp_path, **more)
    merge(base, folder, tmp_path / "out", 0.0)
    assert torch.signbit(tensors_in(tmp_path / "out")[NAME]).all()


def test_no_space_is_said_before_anything_is_written(tmp_path, base, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(NoSpace, match="GiB"):
        merge(base, adapter(tmp_path), tmp_path / "out", 1.0)
    assert not (tmp_path / "out").exists()
