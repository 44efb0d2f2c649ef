"""The merged 16-bit model, made shard by shard from the 16-bit base.

What becomes of each weight is said in `export/changes.py`; it is computed in fp32 and rounded once
to the base's own type. One shard is in memory at a time. All other files, the tokenizer's among
them, are copied byte for byte; a base without a chat template gets the one it was trained with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.disk import need, placed_folder
from appliance.errors import ModelError
from appliance.export.changes import Change, read
from appliance.model import plain

SKIPPED = {".gitattributes", ".cache"}


def merge(base: Path, adapter: Path, target: Path, strength: float) -> dict[str, Any]:
    """Write `target` whole: aside, then renamed. Returns counts.

    At strength 0 every weight is the base's, to the bit. Raises ModelError when the adapter has
    layers that the base has not, RunError when it is of a kind that is not merged here, NoSpace
    before anything is written.
    """
    changes, facts = read(adapter)
    needed = sum(p.stat().st_size for p in base.iterdir() if p.is_file())
    need(target.parent, needed * 1.05, "The merged weights", "the adapter is kept.")
    with placed_folder(target) as aside:
        _merge_all(base, aside, changes, strength)
    return facts | {"strength": strength, "bytes": needed}


def _merge_all(base: Path, target: Path, changes: Mapping[str, Change], strength: float) -> None:
    shards = sorted(base.glob("*.safetensors"))
    found: set[int] = set()
    with console.progress("merge", len(shards)) as bar:
        for shard in shards:
            for name in _merge_shard(shard, target / shard.name, changes, strength):
                found.add(id(changes[name]))
            bar.advance()
    # By the change and not by its name: of two tied names many bases hold one.
    left = [name for name, change in changes.items() if id(change) not in found]
    if left:
        raise ModelError(
            f"The base {base} has no {left[0]}, which the adapter changes.",
            "Name the base that it was trained on.",
        )
    for path in base.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and path.name not in SKIPPED:
            shutil.copyfile(path, target / path.name)
    if not _has_template(base):
        # The template that it was trained with: without it nobody could ask the model.
        (target / plain.FILE).write_text(plain.TEMPLATE, encoding="utf-8")


def _has_template(base: Path) -> bool:
    config = base / "tokenizer_config.json"
    inside = config.is_file() and json.loads(config.read_text(encoding="utf-8"))
    return (base / plain.FILE).is_file() or bool(inside and inside.get("chat_template"))


def _merge_shard(
    source: Path, target: Path, changes: Mapping[str, Change], strength: float
) -> list[str]:
    """Write the shard merged; gives the names of the weights in it that the adapter changes."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    out: dict[str, Any] = {}
    changed = []
    with safe_open(source, framework="pt") as shard:
        for name in shard.keys():  # noqa: SIM118 - not a dict
            weight = shard.get_tensor(name)
            if name in changes:
                changed.append(name)
                weight = _merged(weight, changes[name], strength, f"{source}: {name}")
            out[name] = weight
        metadata = shard.metadata()
    save_file(out, target, metadata=metadata or {"format": "pt"})
    target.chmod(0o644)  # safetensors writes 0600, and whoever serves it may be another uid
    return changed


def _merged(weight: Any, change: Change, strength: float, where: str) -> Any:
    if tuple(weight.shape) != change.shape:
        raise ModelError(
            f"{where} is {tuple(weight.shape)}, the adapter's is {change.shape}.",
            "Name the base that it was trained on.",
        )
    # Adding a zero would still make +0 of -0.
    return change.of(weight.float(), strength).to(weight.dtype) if strength else weight
