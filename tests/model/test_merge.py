"""Merging with weights one can add up by hand."""

from __future__ import annotations

import json

import pytest

from appliance.errors import ModelError, NoSpace, RunError
from appliance.export import merge as module
from appliance.export.merge import merge

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


def adapter(tmp_path, *, r=1, alpha=2, layer="model.layers.0.mlp.up_proj", **config):
    """A = [1 2], B = [1 0 -1]^T, so BA = [[1 2] [0 0] [-1 -2]]; alpha / r = 2."""
    from safetensors.torch import save_file

    folder = tmp_path / "adapter"
    folder.mkdir(exist_ok=True)
    stem = f"base_model.model.{layer}"
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [0.0], [-1.0]])
    save_file({f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}, folder / module.WEIGHTS)
    (folder / "adapter_config.json").write_text(json.dumps({"r": r, "lora_alpha": alpha, **config}))
    return folder


def merged(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model-1.safetensors")[NAME].tolist()


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


def test_dora_is_refused_rather_than_merged_wrongly(tmp_path, base):
    with pytest.raises(RunError, match="use_dora"):
        merge(base, adapter(tmp_path, use_dora=True), tmp_path / "out", 1.0)


def test_no_space_is_said_before_anything_is_written(tmp_path, base, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(NoSpace, match="GiB"):
        merge(base, adapter(tmp_path), tmp_path / "out", 1.0)
    assert not (tmp_path / "out").exists()
