"""Merging a model of several GB, here and by PEFT: `python benchmarks/merge.py`.

Makes a Llama of random weights in shards (1.6B parameters, 3.2 GB in bf16, shards of 1 GB) with a
random LoRA over its seven kinds of layers, and merges it twice, each in a process of its own:
`appliance.export.merge`, and PEFT's `merge_and_unload` with `save_pretrained`. Peak memory is the
process's resident peak (VmHWM), pages of mapped files included, with what its imports take said
beside it. It needs 11 GB of disk in --folder, and leaves nothing there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
LAYERS, HIDDEN, INNER, VOCABULARY, RANK = 24, 2048, 8192, 32000, 16
SHARD = 10**9
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (HIDDEN, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}  # fmt: skip


def make(folder: Path) -> tuple[Path, Path]:
    """(base, adapter)."""
    import torch
    from safetensors.torch import save_file

    base, adapter = folder / "base", folder / "adapter"
    base.mkdir()
    adapter.mkdir()
    torch.manual_seed(0)
    shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        shapes |= {f"{stem}.{name}.weight": shape for name, shape in SHAPES.items()}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{stem}.{norm}.weight"] = (HIDDEN,)
    index: dict[str, str] = {}
    shard: dict[str, Any] = {}
    for number, (name, shape) in enumerate(shapes.items()):
        shard[name] = torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02)
        size = sum(t.numel() * 2 for t in shard.values())
        if size > SHARD or number == len(shapes) - 1:
            file = f"model-{len(set(index.values())) + 1:05}.safetensors"
            save_file(shard, base / file, metadata={"format": "pt"})
            index |= dict.fromkeys(shard, file)
            shard = {}
    (base / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    (base / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": 16,
        "num_key_value_heads": 16, "vocab_size": VOCABULARY, "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }))  # fmt: skip
    factors = {}
    for layer in range(LAYERS):
        for name, (out, inner) in SHAPES.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            factors[f"{stem}.lora_A.weight"] = torch.randn(RANK, inner) * 0.02
            factors[f"{stem}.lora_B.weight"] = torch.randn(out, RANK) * 0.02
    save_file(factors, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK,
        "target_modules": sorted({name.rsplit(".", 1)[-1] for name in SHAPES}), "bias": "none",
    }))  # fmt: skip
    return base, adapter


HERE = """
import sys; from pathlib import Path
import torch, safetensors.torch, safetensors
from appliance.export.merge import merge
{before}
merge(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), 1.0)
"""
PEFT = """
import sys, torch
from transformers import AutoModelForCausalLM
from peft import PeftModel
{before}
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
model = PeftModel.from_pretrained(model, sys.argv[2]).merge_and_unload()
model.save_pretrained(sys.argv[3], max_shard_size="1GB")
"""
BEFORE = "import time; began = time.perf_counter(); was = {peak}"
PEAK = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
AFTER = f"print(time.perf_counter() - began, was, {PEAK})"


def timed(program: str, *words: str) -> dict[str, float]:
    """In a process of its own: seconds without the imports, and MiB before and at the peak."""
    text = program.format(before=BEFORE.format(peak=PEAK)) + AFTER
    done = subprocess.run(
        [sys.executable, "-c", text, *words], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    seconds, imports, peak = map(float, done.stdout.split()[-3:])
    return {"seconds": round(seconds, 1), "imports_mib": imports / 1024, "peak_mib": peak / 1024}


def alike(mine: Path, theirs: Path) -> dict[str, float]:
    """Share of the changed weights' values that both have, and the largest difference."""
    from safetensors import safe_open

    def files(folder: Path) -> dict[str, Any]:
        opened = [safe_open(p, framework="pt") for p in sorted(folder.glob("*.safetensors"))]
        return {name: file for file in opened for name in file.keys()}  # noqa: SIM118

    ours, others = files(mine), files(theirs)
    same = count = 0
    most = 0.0
    for name, file in ours.items():
        a, b = file.get_tensor(name), others[name].get_tensor(name)
        same, count = same + int((a == b).sum()), count + a.numel()
        most = max(most, float((a.float() - b.float()).abs().max()))
    return {"same_values": same / count, "largest_difference": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="Where 11 GB are free (else the system's).")
    parser.add_argument("--out", type=Path, default=RESULTS / "merge.json")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        print("making the model", file=sys.stderr)
        base, adapter = make(folder)
        shards = [p.stat().st_size for p in base.glob("*.safetensors")]
        extra = (adapter / "adapter_model.safetensors").stat().st_size
        found: dict[str, Any] = {}
        for name, program in (("appliance", HERE), ("peft", PEFT)):
            print(f"merging: {name}", file=sys.stderr)
            began = time.perf_counter()
            found[name] = timed(program, str(base), str(adapter), str(folder / name))
            found[name]["whole_process_seconds"] = round(time.perf_counter() - began, 1)
        bound = (max(shards) + extra) / 2**20 + 500
        result = {
            "command": "python benchmarks/merge.py",
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "bytes": sum(shards), "largest_shard_mib": max(shards) / 2**20,
            "adapter_mib": extra / 2**20, "bound_mib": bound,
            "within_bound": found["appliance"]["peak_mib"] <= bound,
            **found, **alike(folder / "appliance", folder / "peft"),
        }  # fmt: skip
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result, indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
