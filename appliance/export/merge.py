"""The merged 16-bit model, made shard by shard from the 16-bit base.

What becomes of each weight is said in `export/changes.py`; it is computed in fp32 and rounded once
to the base's own type. A merged shard has the base's header, byte for byte, and behind it the
weights in the base's order, some rows at a time: a file of safetensors can be read so, but its
library writes it only from memory, where a shard of an 8B model takes 5 GB. All other files, the
tokenizer's among them, are copied byte for byte; a base without a chat template gets the one it
was trained with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from appliance.console import console
from appliance.disk import need, placed_folder
from appliance.errors import ModelError
from appliance.export.changes import Change, read
from appliance.model import plain

SKIPPED = {".gitattributes", ".cache"}
BLOCK = 2**25  # bytes that are read, or computed in fp32, at a time


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

    changed = []
    with source.open("rb") as file, target.open("wb") as out:
        start, places = _header(file)
        file.seek(0)
        _copy(file, out, start)
        for name, (begin, end) in sorted(places.items(), key=lambda item: item[1]):
            if name not in changes:
                file.seek(start + begin)
                _copy(file, out, end - begin)
                continue
            changed.append(name)
            # Opened anew for each weight: what was read of it leaves the memory with it.
            with safe_open(source, framework="pt") as shard:
                _write_merged(shard.get_slice(name), changes[name], strength, out, source, name)
    return changed


def _header(file: BinaryIO) -> tuple[int, dict[str, tuple[int, int]]]:
    """(where the weights begin, {name: where its bytes are behind that}): the form's own words,
    https://huggingface.co/docs/safetensors."""
    size = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return 8 + size, {name: tuple(entry["data_offsets"]) for name, entry in header.items()}


def _copy(file: BinaryIO, out: BinaryIO, count: int) -> None:
    while count:
        piece = file.read(min(count, BLOCK))
        if not piece:
            raise ModelError(f"{file.name} ends too soon.", "Fetch the base again.")
        out.write(piece)
        count -= len(piece)


def _write_merged(
    weight: Any, change: Change, strength: float, out: BinaryIO, source: Path, name: str
) -> None:
    import torch

    shape = tuple(weight.get_shape())
    if shape != change.shape:
        raise ModelError(
            f"{source}: {name} is {shape}, the adapter's is {change.shape}.",
            "Name the base that it was trained on.",
        )
    step = max(1, BLOCK // (4 * shape[-1]))
    for first in range(0, shape[0], step):
        rows = slice(first, first + step)
        piece = weight[rows]
        if strength:  # adding a zero would still make +0 of -0
            piece = change.of(piece.float(), strength, rows).to(piece.dtype)
        out.write(memoryview(piece.contiguous().view(torch.uint8).numpy()))
