"""The only door to unsloth, torch, trl and peft: the order of imports, and what they may send.

Unsloth patches transformers and trl, so it is imported before them, once, here.
"""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType
from typing import Any

from appliance.home import home


@cache
def unsloth() -> ModuleType:
    """Import Unsloth first, with nothing sent anywhere. Takes some seconds."""
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # else an offline start can hang
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    # oneDNN keeps what it prepared for a product of each number of rows, and packed batches have
    # hundreds of numbers: 1,024 of them, its default, were 2 GB after a training.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "128")
    # On a GPU Unsloth writes compiled kernels; by default into the user's current folder.
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(home() / "unsloth_compiled_cache"))
    import unsloth as module

    return module


def fast_model() -> Any:
    """Unsloth's FastLanguageModel: the same name on GPU and CPU."""
    return unsloth().FastLanguageModel


def torch() -> Any:
    unsloth()
    import torch as module

    return module


@cache
def on_gpu() -> bool:
    return bool(torch().cuda.is_available())


@cache
def bf16() -> bool:
    """Does it compute in bf16? Else in fp16 on a GPU; in fp32 on a CPU, where a product of matrices
    in bf16 would take ten to a hundred times as long.
    """
    return bool(unsloth().is_bfloat16_supported())


def width() -> int:
    """Bytes of a number that is computed with."""
    return 2 if on_gpu() or bf16() else 4


def device() -> str:
    return "cuda" if on_gpu() else "cpu"


def versions() -> dict[str, str]:
    """Versions of what decides a result, without importing any of it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "unsloth",
                 "unsloth_zoo", "datasets", "tokenizers", "safetensors"):  # fmt: skip
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """What ran it: for the manifest."""
    import platform

    pt = torch()
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": pt.get_num_threads(),
        "device": device(),
        "bf16": bf16(),
    }
    if on_gpu():
        facts |= {
            "gpu": pt.cuda.get_device_name(),
            "gpu_memory_gib": round(pt.cuda.get_device_properties(0).total_memory / 2**30, 1),
            "cuda": pt.version.cuda,
        }
    return facts
