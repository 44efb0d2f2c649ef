"""Full fine-tuning (`adapter.kind: none`): all weights are trained, and stand in for the adapter.

While they are trained the weights are fp32, and only the forward pass is in bf16: bf16 has steps
of 1.2e-4 at 0.02, so a change of 2e-5 would be rounded away. They are saved in the base's own
types: what is measured after training is to the bit what the merge writes at strength 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.disk import read_json, write_json
from appliance.errors import ModelError, RunError
from appliance.model import backend, dense
from appliance.model.load import Loaded

WEIGHTS, CONFIG = "model.safetensors", "full_finetuning.json"
TYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}  # safetensors' -> torch's names


def attach(loaded: Loaded) -> None:
    """Make ready to train all weights of a model that was opened `whole`; keeps the base's beside.

    Raises ModelError before anything is trained when the weights have no place in the base's files.
    """
    _types(loaded)
    weights = _weights(loaded)
    for weight in weights.values():
        weight.requires_grad_(True)
    loaded.base = {name: weight.detach().clone() for name, weight in weights.items()}
    _compute_in_bf16(loaded.model)


def attach_saved(loaded: Loaded, folder: Path) -> None:
    """Put saved weights in the place of the base's, which are kept beside. Raises RunError."""
    from safetensors import safe_open

    weights = _weights(loaded)
    with safe_open(folder / WEIGHTS, framework="pt", device=backend.device()) as saved:
        wrong = weights.keys() ^ set(saved.keys()) or {
            name
            for name, weight in weights.items()
            if list(weight.shape) != saved.get_slice(name).get_shape()
        }
        if wrong:
            raise RunError(
                f"The weights in {folder} do not fit {loaded.ref.name} ({min(wrong)} differs).",
                "Name the base that they were trained from.",
            )
        dense.let_go(loaded.model)
        loaded.base = {name: weight.data for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.data = saved.get_tensor(name).to(weight.dtype)


def save(loaded: Loaded, folder: Path) -> None:
    """Write WEIGHTS and CONFIG into `folder`; tied weights once, by their first name."""
    from safetensors.torch import save_file

    types = _types(loaded)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: weight.detach().to("cpu", types[name]).contiguous()
        for name, weight in _weights(loaded).items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)
    write_json(
        folder / CONFIG, {"kind": "none", "base": loaded.ref.name, "tied": _tied(loaded.model)}
    )


def tied(folder: Path) -> dict[str, str]:
    """Of saved weights: other names that the model has for one of them -> the name in the file."""
    names: dict[str, str] = read_json(folder / CONFIG)["tied"]
    return names


@contextmanager
def base_weights(loaded: Loaded) -> Iterator[None]:
    """The base's weights in the tuned ones' place: pointers change hands, nothing is copied.

    Between a forward pass and its backward pass this leaves the gradients as they are, since the
    tuned weights are back by then. Not to be backpropagated through itself.
    """
    _swap(loaded)
    try:
        yield
    finally:
        _swap(loaded)


@contextmanager
def scaled(loaded: Loaded, strength: float) -> Iterator[None]:
    """W + strength * (T - W) in the tuned weights' place; they are kept beside meanwhile."""
    base = loaded.base
    assert base is not None
    weights = _weights(loaded)
    tuned = {name: weight.data for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.data = base[name].float().lerp(tuned[name].float(), strength).to(weight.dtype)
    try:
        yield
    finally:
        for name, weight in weights.items():
            weight.data = tuned[name]


def _swap(loaded: Loaded) -> None:
    torch = backend.torch()
    base = loaded.base
    assert base is not None
    # Inside inference mode `.data` would hand out tensors that can never be trained again.
    with torch.inference_mode(False):
        for name, weight in _weights(loaded).items():
            weight.data, base[name] = base[name], weight.data
    # Autocast keeps the bf16 copies that it made of fp32 weights, by the parameter they are of.
    torch.clear_autocast_cache()


def _weights(loaded: Loaded) -> dict[str, Any]:
    """The model's parameters by name; tied ones once."""
    return dict(loaded.model.named_parameters())


def _tied(model: Any) -> dict[str, str]:
    first = {id(weight): name for name, weight in model.named_parameters()}
    return {
        name: first[id(weight)]
        for name, weight in model.named_parameters(remove_duplicate=False)
        if first[id(weight)] != name
    }


def _types(loaded: Loaded) -> dict[str, Any]:
    """The type that each weight has in the base's files; raises ModelError where it has none."""
    from safetensors import safe_open

    torch = backend.torch()
    stored: dict[str, str] = {}
    for shard in loaded.ref.folder.glob("*.safetensors"):
        with safe_open(shard, framework="pt") as tensors:
            stored |= {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    for other, name in _tied(loaded.model).items():
        stored.setdefault(name, stored.get(other, ""))
    for name in _weights(loaded):
        if stored.get(name) not in TYPES:
            raise ModelError(
                f"{loaded.ref.folder} holds no 16- or 32-bit {name}, so a full fine-tuning of it "
                "could not be exported.",
                "Choose adapter.kind: lora.",
            )
    return {name: getattr(torch, TYPES[stored[name]]) for name in _weights(loaded)}


def _compute_in_bf16(model: Any) -> None:
    """Every forward pass under autocast, measuring too: the trainer alone would do so in training.

    fp16 where a GPU has no bf16; fp32 where a CPU has none.
    """
    torch = backend.torch()
    bf16 = backend.bf16()
    if bf16 or backend.on_gpu():
        half = torch.bfloat16 if bf16 else torch.float16
        model.forward = torch.autocast(backend.device(), dtype=half)(model.forward)
