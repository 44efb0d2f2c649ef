"""manifest.json: what a run began with, and whether it still is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.disk import read_json, sha256, write_json
from appliance.recipe import Recipe
from appliance.run import RunDir, now
from appliance.sizing import cards
from appliance.sizing.cards import Price


def write(run: RunDir, recipe: Recipe) -> None:
    """Versions, seed, hashes of recipe, data and model, machine. Never a row, never a secret."""
    from appliance.model import backend
    from appliance.model.load import resolve

    ref, machine = resolve(recipe.model), backend.machine()
    write_json(
        run.manifest,
        {
            "time": now(),
            "appliance": __version__,
            "versions": backend.versions(),
            "machine": machine,
            "price": _listed(machine),
            "seed": recipe.train.seed,
            "recipe_sha256": sha256(run.recipe_file),
            "data": _sources(read_json(run.data_facts)),
            "rows_sha256": {
                path.name: sha256(path) for path in (run.train_rows, run.valid_rows, run.test_rows)
            },
            "model": {
                "name": ref.name,
                "revision": ref.revision,
                "folder": ref.folder.name,
                "sha256": ref.digest(),
            },
        },
    )


def charge(run: RunDir, price: Price) -> None:
    """What an hour of the machine costs, as the user says it."""
    found = read_json(run.manifest)
    if found.get("price") != _price(price):
        write_json(run.manifest, found | {"price": _price(price)})


def _listed(machine: dict[str, Any]) -> dict[str, Any] | None:
    """What is typical of its card; None on a CPU, or where the table knows none."""
    if machine["device"] != "cuda":
        return None
    return _price(cards.of_device(machine["gpu"], machine["gpu_memory_gib"]).price)


def _price(price: Price | None) -> dict[str, Any] | None:
    if price is None:
        return None
    return {"per_hour": price.per_hour, "currency": "USD", "source": price.listed}


def _sources(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """{"path", "sha256", "bytes"} of every file that rows were read from."""
    sources = (facts.get(f"{name}_source") or {} for name in ("train", "test"))
    return [file for source in sources for file in source.get("files", [])]


def changes(run: RunDir) -> list[str]:
    """What is not as it was when the run began: `torch: 2.13.0 -> 2.14.0`, `train.jsonl`.

    A source that is gone is none: the run has its rows. Empty before there is a manifest.
    """
    if not run.manifest.is_file():
        return []
    from appliance.model.backend import versions

    begun, now_there = read_json(run.manifest), versions()
    found = [
        f"{name}: {was} -> {now_there.get(name)}"
        for name, was in begun["versions"].items()
        if now_there.get(name) != was
    ]
    for file in begun["data"] or []:
        path = Path(file["path"])
        if path.is_file() and sha256(path) != file["sha256"]:
            found.append(f"{path.name} is another file")
    return found
