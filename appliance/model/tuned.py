"""A model that was tuned elsewhere, beside the base that it is compared with.

A PEFT adapter is put on the base like one of ours. A whole model is loaded beside the base, which
stands in where an adapter would be switched off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.errors import ModelError
from appliance.model import adapter
from appliance.model.load import Loaded, base_of, open_model, resolve
from appliance.sections.source import ModelSection


def open_tuned(name: str, base: ModelSection) -> Loaded:
    """The tuned model `name` (folder, hub id, or folder of a PEFT adapter) over `base`.

    Raises ModelError when it is not of the base's kind; says where it seems to be of another base.
    """
    folder = Path(name).expanduser()
    if (folder / "adapter_config.json").is_file():
        return _with_adapter(folder, base)
    reference = open_model(base)
    tuned = open_model(base.model_copy(update={"name": name, "revision": None}))
    _check_kind(name, tuned, reference)
    _say_of_another_base(name, tuned, reference)
    tuned.reference = reference.model
    return tuned


def check(name: str, base: ModelSection) -> None:
    """Is it there? Asked before anything long begins. Raises ModelError."""
    if not (Path(name).expanduser() / "adapter_config.json").is_file():
        resolve(base.model_copy(update={"name": name, "revision": None}))


def _with_adapter(folder: Path, base: ModelSection) -> Loaded:
    trained_on = str(base_of(folder).get("base_model_name_or_path") or "")
    loaded = open_model(base)
    if trained_on and Path(trained_on).name not in (Path(base.name).name, loaded.ref.folder.name):
        console.say(
            f"  warning: {folder} says that it was trained on {trained_on}, not on {base.name}: "
            "on another base it is another model."
        )
    adapter.attach_saved(loaded, folder)
    return loaded


def _check_kind(name: str, tuned: Loaded, reference: Loaded) -> None:
    if tuned.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
        raise ModelError(
            f"{name} has another vocabulary than {reference.ref.name}, so it is not tuned from it.",
            "Name its own base with --base.",
        )
    mine, theirs = (_shapes(m.model) for m in (tuned, reference))
    if mine != theirs:
        raise ModelError(
            f"{name} has other layers than {reference.ref.name}, so it is not tuned from it.",
            "Name its own base with --base.",
        )


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def _say_of_another_base(name: str, tuned: Loaded, reference: Loaded) -> None:
    """An adapter leaves the embeddings as they are; most that is tuned is."""
    mine, theirs = (m.model.get_input_embeddings().weight for m in (tuned, reference))
    if not bool((mine == theirs).all()):
        console.say(
            f"  warning: the embeddings of {name} differ from those of {reference.ref.name}: "
            "either all of its weights were trained, or it has another base."
        )
