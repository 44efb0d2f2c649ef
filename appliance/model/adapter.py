"""The adapter: put on a base, saved, read back, switched off. LoRA, DoRA, or all weights.

Training and evaluation put it on by the same call, so what is measured later is computed by the
very modules that were trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.disk import placed_folder
from appliance.errors import ModelError, RunError
from appliance.model import backend, dora, full, lora
from appliance.model.load import Loaded, base_of

WEIGHTS = "adapter_model.safetensors"


def attach(
    loaded: Loaded,
    *,
    kind: str = "lora",
    rank_stabilized: bool = False,
    r: int,
    alpha: int,
    dropout: float,
    target_modules: list[str] | tuple[str, ...],
    seed: int,
    gradient_checkpointing: bool = False,
) -> None:
    """Put a fresh adapter on: nothing changes yet. `loaded.model` becomes a PeftModel.

    `kind` as in the recipe. `none`: no adapter, all weights are trained, and the rest of the
    arguments has no meaning; the model was opened `whole`.
    """
    if kind == "none":
        full.attach(loaded)
        return
    missing = _missing(loaded.model, target_modules)
    if missing:
        raise ModelError(
            f"{loaded.ref.name} has no layers named {', '.join(missing)}.",
            "Set adapter.target_modules to its linear layers.",
        )
    loaded.model = backend.fast_model().get_peft_model(
        loaded.model,
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(target_modules),
        bias="none",
        use_gradient_checkpointing="unsloth" if gradient_checkpointing else False,
        random_state=seed,
        use_rslora=rank_stabilized,
        # Unsloth's fast kernels know no magnitudes; where there are any it leaves the forward
        # pass to PEFT.
        **({"use_dora": True} if kind == "dora" else {}),
    )
    if kind == "dora":
        dora.make_exact(loaded.model)
    elif not backend.on_gpu():
        lora.fuse(loaded.model)


def keep_precise(loaded: Loaded) -> None:
    """The adapter's weights in fp32 again, where TRL's trainers cast those of QLoRA to bf16.

    AdamW moves a weight by about the learning rate, 2e-4, and bf16 numbers near 0.05 are 2e-4
    apart: half of the steps would be lost, and a resumed training (PEFT reads fp32) be another.
    """
    for name, weight in loaded.model.named_parameters():
        if weight.requires_grad and "lora_" in name:
            weight.data = weight.data.float()


def _missing(model: Any, targets: list[str] | tuple[str, ...]) -> list[str]:
    leaves = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    return [t for t in targets if t not in leaves]


def weights_file(folder: Path) -> Path:
    """The file with the weights of a saved adapter of any kind. Raises RunError without one."""
    for name in (WEIGHTS, full.WEIGHTS):
        if (folder / name).is_file():
            return folder / name
    raise RunError(f"{folder} holds no {WEIGHTS}.", "Train first: `train --run`.")


def attach_saved(loaded: Loaded, folder: Path) -> None:
    """Put a saved adapter on. Raises RunError when its files are missing or do not fit."""
    from peft import load_peft_weights, set_peft_model_state_dict

    if weights_file(folder).name == full.WEIGHTS:
        full.attach_saved(loaded, folder)
        return
    config = base_of(folder)
    attach(
        loaded,
        kind="dora" if config.get("use_dora") else "lora",
        rank_stabilized=bool(config.get("use_rslora")),
        r=config["r"],
        alpha=config["lora_alpha"],
        dropout=0.0,
        target_modules=sorted(config["target_modules"]),
        seed=0,
    )
    weights = load_peft_weights(str(folder), device=backend.device())
    result = set_peft_model_state_dict(loaded.model, weights)
    if result.unexpected_keys:
        raise RunError(
            f"The adapter in {folder} does not fit {loaded.ref.name} "
            f"({len(result.unexpected_keys)} tensors have no place).",
            "Name the base it was trained on.",
        )
    loaded.model.eval()  # PEFT's new modules begin in training mode


def save(loaded: Loaded, folder: Path) -> None:
    """Write the adapter's folder whole, aside, then renamed: PEFT's, or all weights."""
    with placed_folder(folder) as aside:
        if loaded.base is not None:
            full.save(loaded, aside)
        else:
            loaded.model.save_pretrained(aside, safe_serialization=True)
            (aside / "README.md").unlink(missing_ok=True)  # PEFT's empty template of a card


@contextmanager
def switched_off(loaded: Loaded) -> Iterator[None]:
    """The base as it was. For a model without an adapter this is the model itself."""
    if loaded.base is not None:
        with full.base_weights(loaded):
            yield
    elif loaded.reference is not None:
        loaded.model, loaded.reference = loaded.reference, loaded.model
        try:
            yield
        finally:
            loaded.model, loaded.reference = loaded.reference, loaded.model
    elif hasattr(loaded.model, "disable_adapter"):
        with loaded.model.disable_adapter():
            yield
    else:
        yield


@contextmanager
def scaled(loaded: Loaded, strength: float) -> Iterator[None]:
    """The change that the adapter makes of the weights, scaled: what a merge at `strength` is."""
    if loaded.base is not None:
        with full.scaled(loaded, strength):
            yield
        return
    layers = [m for m in loaded.model.modules() if isinstance(getattr(m, "scaling", None), dict)]
    magnitudes = [v for m in layers for v in getattr(m, "lora_magnitude_vector", {}).values()]
    if magnitudes:
        with dora.scaled(magnitudes, strength):
            yield
        return
    before = [dict(layer.scaling) for layer in layers]
    for layer in layers:
        layer.scaling.update({name: scale * strength for name, scale in layer.scaling.items()})
    try:
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)


def trainable(loaded: Loaded) -> tuple[int, int]:
    """(weights that are trained, all weights); 4-bit weights are counted unpacked."""
    trained = total = 0
    for parameter in loaded.model.parameters():
        count = parameter.numel() * (2 if parameter.__class__.__name__ == "Params4bit" else 1)
        total += count
        trained += count if parameter.requires_grad else 0
    return trained, total
