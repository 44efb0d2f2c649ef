"""The merged 16-bit model, made shard by shard from the 16-bit base.

W' = W + strength * (alpha / r) * B A for every adapted layer (Hu et al. 2021, arXiv 2106.09685),
computed in fp32 and rounded once to the base's own type. One shard is in memory at a time. All
other files, the tokenizer's among them, are copied byte for byte.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.errors import ModelError, NoSpace, RunError
from appliance.model.adapter import WEIGHTS
from appliance.model.load import base_of

SKIPPED = {".gitattributes", ".cache"}


def merge(base: Path, adapter: Path, target: Path, strength: float) -> dict[str, Any]:
    """Write `target` whole: aside, then renamed. Returns counts.

    Raises ModelError when the adapter has layers that the base has not, RunError when it is of a
    kind that is not merged here, NoSpace before anything is written.
    """
    pairs, scale = _read_adapter(adapter)
    needed = sum(p.stat().st_size for p in base.iterdir() if p.is_file())
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < needed * 1.05:
        raise NoSpace(
            f"The merged model needs {needed / 2**30:.1f} GiB and {target.parent} has "
            f"{free / 2**30:.1f} GiB free.",
            "Free some, then `appliance export` again; the adapter is kept.",
        )
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        _merge_all(base, aside, pairs, scale * strength)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return {"layers": len(pairs), "scale": scale, "strength": strength, "bytes": needed}


def _read_adapter(folder: Path) -> tuple[dict[str, tuple[Any, Any]], float]:
    """({base weight's name: (A, B)}, alpha / r)."""
    from safetensors.torch import load_file

    config = base_of(folder)
    _refuse_other_kinds(config, folder)
    if not (folder / WEIGHTS).is_file():
        raise RunError(f"{folder} holds no {WEIGHTS}.", "Train first: `train --run`.")
    tensors = load_file(folder / WEIGHTS)
    pairs: dict[str, tuple[Any, Any]] = {}
    for name, a in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name.removesuffix(".lora_A.weight")
        layer = stem.removeprefix("base_model.model.")
        pairs[f"{layer}.weight"] = (a, tensors[f"{stem}.lora_B.weight"])
    if 2 * len(pairs) != len(tensors):
        raise RunError(f"{folder} holds tensors that are not LoRA factors.", "Export the adapter.")
    rank = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return pairs, scale


def _refuse_other_kinds(config: dict[str, Any], folder: Path) -> None:
    for key in ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "fan_in_fan_out"):
        if config.get(key):
            raise RunError(
                f"The adapter in {folder} uses {key}, which is not merged here.",
                "Serve it as an adapter.",
            )


def _merge_all(base: Path, target: Path, pairs: dict[str, tuple[Any, Any]], scale: float) -> None:
    shards = sorted(base.glob("*.safetensors"))
    left = dict(pairs)
    with console.progress("merge", len(shards)) as bar:
        for shard in shards:
            _merge_shard(shard, target / shard.name, left, scale)
            bar.advance()
    if left:
        raise ModelError(
            f"The base {base} has no {next(iter(left))}, which the adapter changes.",
            "Name the base that it was trained on.",
        )
    for path in base.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and path.name not in SKIPPED:
            shutil.copyfile(path, target / path.name)


def _merge_shard(source: Path, target: Path, left: dict[str, Any], scale: float) -> None:
    """Merge what the shard has of `left`, and take it out of there."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    out: dict[str, Any] = {}
    with safe_open(source, framework="pt") as shard:
        for name in shard.keys():  # noqa: SIM118 - not a dict
            weight = shard.get_tensor(name)
            if name in left:
                a, b = left.pop(name)
                if weight.shape != (b.shape[0], a.shape[1]):
                    raise ModelError(
                        f"{source}: {name} is {tuple(weight.shape)}, the adapter's is "
                        f"{(b.shape[0], a.shape[1])}.",
                        "Name the base that it was trained on.",
                    )
                change = scale * (b.float() @ a.float())
                weight = (weight.float() + change).to(weight.dtype)
            out[name] = weight
        metadata = shard.metadata()
    save_file(out, target, metadata=metadata or {"format": "pt"})
    target.chmod(0o644)  # safetensors writes 0600, and whoever serves it may be another uid
