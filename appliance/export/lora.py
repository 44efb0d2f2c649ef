"""A LoRA as GGUF: what llama.cpp lays over a base in GGUF (`--lora`), at the strength.

    python -m appliance.export.lora write BASE ADAPTER STRENGTH TARGET
    python -m appliance.export.lora check BASE ADAPTER STRENGTH FILE

llama.cpp's converter names a model's weights anew and turns the rows of some; the factors must go
the same way, so each is sent through the converter's own class for the base: B [out, r] as a weight
of r columns, A [r, in] for its name. `check` holds the result against the converter's own doing:
what it makes of the base's weight, plus the factors of the file, is what it makes of the weight
that PEFT merges. The form of the file: `convert_lora_to_gguf.py` of llama.cpp.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_LAYER = re.compile(r"\.layers\.(\d+)\.")


def converter(base: str, target: str) -> Any:
    """llama.cpp's own for the base's architecture; nothing is read or written yet."""
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    folder = Path(base)
    architecture = get_model_architecture(ModelBase.load_hparams(folder, False), ModelType.TEXT)
    made = get_model_class(architecture)
    return made(folder, gguf.LlamaFileType.ALL_F32, Path(target), eager=True)


def sent(model: Any, name: str, weight: Any) -> tuple[str, Any]:
    """(name in GGUF, the weight as it stands there). Raises ValueError where it is not just one."""
    found = _LAYER.search(name)
    out = list(model.modify_tensors(weight, name, int(found[1]) if found else None))
    if len(out) != 1:
        raise ValueError(f"llama.cpp divides {name}, so its factors cannot go along")
    return str(out[0][0]), out[0][1]


def write(base: str, adapter: str, strength: str, target: str) -> None:
    import gguf
    from safetensors.torch import load_file

    config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    model = converter(base, target)
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[model.model_arch])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    # llama.cpp scales by alpha / r; the strength, and sqrt(r) of a rank-stabilized one, go in here.
    rank = config["r"]
    alpha = config["lora_alpha"] * float(strength)
    alpha *= rank**0.5 if config.get("use_rslora") else 1
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    factors = load_file(Path(adapter) / "adapter_model.safetensors")
    for name in sorted(n for n in factors if n.endswith(".lora_A.weight")):
        stem = name.removesuffix(".lora_A.weight")
        weight = f"{stem.removeprefix('base_model.model.')}.weight"
        new, b = sent(model, weight, factors[f"{stem}.lora_B.weight"].float())
        writer.add_tensor(f"{new}.lora_a", factors[name].float().numpy())
        writer.add_tensor(f"{new}.lora_b", b.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check(base: str, adapter: str, strength: str, file: str) -> None:
    """Prints JSON: {weight in GGUF: how far its change is off, as a share of the change}."""
    import gguf
    import torch

    from appliance.export.ask import by_peft, files

    reader = gguf.GGUFReader(file)
    scale = float(reader.fields[gguf.Keys.Adapter.LORA_ALPHA].contents())
    held = {tensor.name: torch.from_numpy(tensor.data.copy()) for tensor in reader.tensors}
    model = converter(base, file)
    merged = by_peft(base, Path(adapter), float(strength))
    found = {}
    for name, opened in files(base).items():
        weight = opened.get_tensor(name).float()
        tuned = merged(name, weight)
        if torch.equal(tuned, weight):
            continue
        new, before = sent(model, name, weight)
        change = sent(model, name, tuned)[1] - before
        a, b = held.pop(f"{new}.lora_a"), held.pop(f"{new}.lora_b")
        mine = scale / a.shape[0] * (b @ a)
        found[new] = float((mine - change).norm() / change.norm())
    found |= dict.fromkeys(held, 1.0)  # of weights that do not change
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
