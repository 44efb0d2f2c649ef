"""What a saved adapter makes of the base's weights, weight by weight.

W is [out, in], A [r, in], B [out, r], m [out]; all arithmetic is fp32. `strength` 0 is the base and
1 what was trained; between them, and beyond, the change of the weight is scaled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from appliance.errors import RunError
from appliance.model import full
from appliance.model.adapter import weights_file
from appliance.model.load import base_of

STEM = "base_model.model."
ALL = slice(None)


class Change(Protocol):
    """Of one weight."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def of(self, weight: Any, strength: float, rows: slice = ALL) -> Any:
        """These rows of the weight in fp32 -> the merged ones in fp32."""


@dataclass(frozen=True)
class Lora:
    """W + strength * scale * B A (Hu et al. 2021, arXiv 2106.09685).

    `scale` is alpha / r, or alpha / sqrt(r) where it is rank-stabilized (Kalajdzievski 2023, arXiv
    2312.03732).
    """

    a: Any
    b: Any
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.b.shape[0], self.a.shape[1])

    def of(self, weight: Any, strength: float, rows: slice = ALL) -> Any:
        return weight + strength * self.scale * (self.b[rows].float() @ self.a.float())


@dataclass(frozen=True)
class Dora:
    """W' = m (W + scale * B A) / ||W + scale * B A||, the length of each row (Liu et al. 2024,
    arXiv 2402.09353, eq. 5; PEFT's definition). At another strength W + strength * (W' - W).

    Beside a 4-bit base PEFT took the rows' lengths of the dequantized W; here they are those of the
    16-bit W. So the rows get the length that was trained, in a direction that is slightly another,
    as a LoRA's do.
    """

    lora: Lora
    m: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lora.shape

    def of(self, weight: Any, strength: float, rows: slice = ALL) -> Any:
        turned = self.lora.of(weight, 1.0, rows)
        tuned = self.m[rows].float()[:, None] * turned / turned.norm(dim=1, keepdim=True)
        return weight.lerp(tuned, strength)


@dataclass(frozen=True)
class Whole:
    """A full fine-tuning's weight T, read when it is needed: W + strength * (T - W).

    `lerp` is W at 0 and T at 1, to the bit.
    """

    file: Any  # of safetensors, open
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.file.get_slice(self.name).get_shape())

    def of(self, weight: Any, strength: float, rows: slice = ALL) -> Any:
        return weight.lerp(self.file.get_slice(self.name)[rows].float(), strength)


def read(folder: Path) -> tuple[dict[str, Change], dict[str, Any]]:
    """({base weight's name: its change}, facts for export.json).

    Of tied weights each name has the one change. Raises RunError when the folder holds no adapter,
    or one of a kind that is not merged here.
    """
    path = weights_file(folder)
    return _whole(folder, path) if path.name == full.WEIGHTS else _factors(folder, path)


def _whole(folder: Path, path: Path) -> tuple[dict[str, Change], dict[str, Any]]:
    from safetensors import safe_open

    file = safe_open(path, framework="pt")
    changes: dict[str, Change] = {name: Whole(file, name) for name in file.keys()}  # noqa: SIM118
    layers = len(changes)
    changes |= {other: changes[name] for other, name in full.tied(folder).items()}
    return changes, {"kind": "none", "layers": layers}


def _factors(folder: Path, path: Path) -> tuple[dict[str, Change], dict[str, Any]]:
    from safetensors.torch import load_file

    config = base_of(folder)
    _refuse_other_kinds(config, folder)
    rank = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    dora = bool(config.get("use_dora"))
    tensors = load_file(path)
    changes: dict[str, Change] = {}
    for name in [name for name in tensors if name.endswith(".lora_A.weight")]:
        stem = name.removesuffix(".lora_A.weight")
        lora = Lora(tensors.pop(name), tensors.pop(f"{stem}.lora_B.weight", None), scale)
        if lora.b is None or (dora and f"{stem}.lora_magnitude_vector" not in tensors):
            raise RunError(f"{folder} lacks a factor of {stem}.", "Train it anew.")
        layer = f"{stem.removeprefix(STEM)}.weight"
        changes[layer] = Dora(lora, tensors.pop(f"{stem}.lora_magnitude_vector")) if dora else lora
    if tensors:
        raise RunError(
            f"{folder} holds tensors that are no factors of its adapter ({min(tensors)}).",
            "Serve it as an adapter.",
        )
    facts = {"kind": "dora" if dora else "lora", "layers": len(changes), "scale": scale}
    return changes, facts


def _refuse_other_kinds(config: dict[str, Any], folder: Path) -> None:
    for key in ("modules_to_save", "rank_pattern", "alpha_pattern", "fan_in_fan_out"):
        if config.get(key):
            raise RunError(
                f"The adapter in {folder} uses {key}, which is not merged here.",
                "Serve it as an adapter.",
            )
