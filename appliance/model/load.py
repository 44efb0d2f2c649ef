"""From a model's name to a loaded model: the embedded one, a folder, or a hub id."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.console import console
from appliance.disk import read_json, sha256
from appliance.errors import ModelError
from appliance.model import attention, backend, dense, embedded, packed, plain
from appliance.sections.source import ModelSection


@dataclass(frozen=True)
class ModelRef:
    """A model on disk, before it is loaded."""

    name: str
    folder: Path
    revision: str | None = None

    def digest(self) -> str:
        """sha256 over the names and hashes of the weight files (read once: 1 GB/s)."""
        import hashlib

        whole = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            whole.update(f"{path.name} {sha256(path)}\n".encode())
        return whole.hexdigest()


@dataclass
class Loaded:
    """A model on its device with its tokenizer. `model` is a PeftModel once an adapter is on.

    `base`: of a full fine-tuning, the base's own weights by parameter name (`model/full.py`).
    `reference`: of a model that was tuned elsewhere, the base's own model (`model/tuned.py`).
    `turns`: of a model without a chat template, what an answer is cut at (`model/plain.py`).
    `packs`: a batch's rows are computed without padding (`model/packed.py`).
    """

    ref: ModelRef
    model: Any
    tokenizer: Any
    max_length: int
    base: dict[str, Any] | None = None
    reference: Any = None
    turns: tuple[str, ...] = ()
    packs: bool = False


def resolve(section: ModelSection) -> ModelRef:
    """The folder that holds the model. Raises ModelError when there is none.

    A hub id is downloaded (or found in the hub's cache) as a snapshot, so that the 16-bit files
    for the merge are the very ones that were trained on.
    """
    if section.name == "embedded":
        return ModelRef("embedded", embedded.folder())
    path = Path(section.name).expanduser()
    if path.is_dir():
        _check_folder(path)
        return ModelRef(section.name, path.resolve())
    if path.exists() or section.name.count("/") != 1 or section.name.startswith((".", "/", "~")):
        raise ModelError(f"There is no model folder {section.name}.", near(path))
    return ModelRef(section.name, _snapshot(section.name, section.revision), section.revision)


def near(path: Path) -> str:
    """What to do about a model folder that is not there: the likest name beside it."""
    parent = path.parent
    names = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    found = difflib.get_close_matches(path.name, names, n=1)
    if found:
        return f"Did you mean {parent / found[0]}?"
    return "Name `embedded`, a folder with config.json and *.safetensors, or a hub id owner/name."


def _check_folder(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{path} holds no config.json, so it is no model folder.",
            "Name the folder with config.json, tokenizer.json and *.safetensors.",
        )
    if not any(path.glob("*.safetensors")):
        raise ModelError(
            f"{path} holds no *.safetensors weights.",
            "Pickled weights are refused; convert them with `save_pretrained` of transformers.",
        )


def _snapshot(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "LICENSE*", "README.md"]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        gated = isinstance(error, HfHubHTTPError) and getattr(error.response, "status_code", 0) in (
            401,
            403,
        )
        if gated:
            raise ModelError(
                f"The hub refuses {name}.", "Accept its licence there and set HF_TOKEN."
            ) from error
        raise ModelError(
            f"The model {name} is neither a folder here nor to be had from the hub.",
            "Check the name and the network, or name a folder; `embedded` needs no network.",
        ) from error
    _check_folder(folder)
    return folder


def open_model(
    section: ModelSection, gradient_checkpointing: bool | None = None, *, whole: bool = False
) -> Loaded:
    """Load the base through Unsloth, in NF4 or 16 bit. Raises ModelError.

    `whole`: to train all weights; they are held in fp32 then (`model/full.py` says why).
    """
    ref = resolve(section)
    # A folder has everything; without this some loaders still ask the hub, and hang offline. It is
    # read when the hub's library is imported, so it comes before Unsloth.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    fast = backend.fast_model()
    if gradient_checkpointing is None:
        gradient_checkpointing = backend.on_gpu()
    try:
        model, tokenizer = fast.from_pretrained(
            model_name=str(ref.folder),
            max_seq_length=section.max_length,
            load_in_4bit=section.bits == 4 and not whole,
            dtype=backend.torch().float32 if whole else None,
            full_finetuning=whole,
            use_gradient_checkpointing="unsloth" if gradient_checkpointing else False,
        )
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"The model in {ref.folder} cannot be loaded ({reason}).",
            "Check that its files are whole; --debug shows the traceback.",
        ) from error
    turns: tuple[str, ...] = ()
    packs = False
    if not tokenizer.chat_template:
        console.say(f"  {ref.name} has no chat template: a plain one is used (User: / Assistant:)")
        tokenizer.chat_template, turns = plain.TEMPLATE, plain.TURNS
    if not backend.on_gpu():
        if not whole:
            dense.hold(model)
        dense.fold(model)
        attention.use(model)
        packs = not gradient_checkpointing and packed.pack(model)
    return Loaded(ref, model, tokenizer, section.max_length, turns=turns, packs=packs)


def release(loaded: Loaded) -> None:
    """Give the memory back; the next stage loads from disk what it needs."""
    import gc

    loaded.model = loaded.base = loaded.reference = None
    gc.collect()
    if backend.on_gpu():
        backend.torch().cuda.empty_cache()


def base_of(adapter: Path) -> dict[str, Any]:
    """The adapter's own config (PEFT's adapter_config.json)."""
    config: dict[str, Any] = read_json(adapter / "adapter_config.json")
    return config
