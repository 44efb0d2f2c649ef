"""The NVIDIA side: what nvidia-smi says, whether the card suits the wheels, what torch makes of it.

Minor CUDA versions do not matter to a driver: CUDA 13.2 runs on the driver of 13.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.doctor.checks import Line, numbers

# The oldest driver for each CUDA (NVIDIA's table of minor version compatibility).
OLDEST_DRIVER = {13: 580, 12: 525, 11: 450}
WAIT = 17.0  # seconds for what needs torch: the whole answer comes within 20
OLDEST_CARD = 70  # Unsloth's and Triton's kernels need compute capability 7.0
# What torch's wheels hold code for, where torch itself is not asked (--quick).
WHEELS = {
    "13": "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120",
    "13 aarch64": "sm_80 sm_90 sm_100 sm_110 sm_120 compute_120",
    "12.6": "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90",
}


@dataclass(frozen=True)
class Gpu:
    index: str
    name: str
    driver: str
    capability: int | None  # 86 for 8.6
    total: int | None  # MiB, as is free
    free: int | None


@dataclass(frozen=True)
class Card:
    """What is known of NVIDIA here, from nvidia-smi and /sys."""

    gpus: tuple[Gpu, ...] = ()
    cuda: str = ""  # the newest CUDA that the driver knows
    holders: tuple[str, ...] = ()  # processes that hold GPU memory
    trouble: str = ""  # what nvidia-smi says instead of an answer
    on_bus: bool = False  # an NVIDIA display adapter is plugged in


def read_gpus(text: str) -> tuple[Gpu, ...]:
    """`nvidia-smi --query-gpu=FIELDS --format=csv,noheader,nounits`; [N/A] becomes None."""

    def number(field: str) -> int | None:
        return int(float(field)) if re.fullmatch(r"\d+(\.\d+)?", field) else None

    rows = [[field.strip() for field in line.split(",")] for line in text.splitlines()]
    return tuple(
        Gpu(row[0], row[1], row[2], number(row[3].replace(".", "")), number(row[4]), number(row[5]))
        for row in rows
        if len(row) == 6 and row[0].isdigit()
    )


def chosen(gpus: tuple[Gpu, ...], visible: str | None) -> tuple[Gpu, ...]:
    """What CUDA_VISIBLE_DEVICES leaves, where it names them by number."""
    if visible is None or re.search(r"[A-Za-z]", visible):
        return gpus
    known = {gpu.index: gpu for gpu in gpus}
    wanted = [index.strip() for index in visible.split(",")]
    return tuple(known[index] for index in wanted if index in known)


def check_gpu(card: Card, visible: str | None = None) -> list[Line]:
    """Driver and card: is there one, is it used?"""
    newest = f"Install NVIDIA driver {max(OLDEST_DRIVER.values())} or newer"
    if card.trouble:
        do = f"{newest} and restart; until nvidia-smi answers it trains on CPU."
        return [Line("driver", "fail" if card.on_bus else "warn", card.trouble, do)]
    if not card.gpus and card.on_bus:
        do = f"In a container: docker run --gpus all. Elsewhere: {newest[0].lower()}{newest[1:]}."
        return [Line("gpu", "warn", "an NVIDIA card, but no nvidia-smi: trains on CPU", do)]
    if not card.gpus:
        return [Line("gpu", "ok", "none: trains on CPU")]
    driver = f"{card.gpus[0].driver}, CUDA {card.cuda or 'unknown'}"
    used = chosen(card.gpus, visible)
    if not used:
        found = f"{card.gpus[0].name}, hidden by CUDA_VISIBLE_DEVICES: trains on CPU"
        return [Line("driver", "ok", driver), Line("gpu", "warn", found, "Unset it to use it.")]
    more = f" (1 of {len(card.gpus)} is used)" if len(card.gpus) > 1 else ""
    return [Line("driver", "ok", driver), Line("gpu", "ok", f"{used[0].name}{more}")]


def wheel_arches(cuda: str, machine: str) -> list[str]:
    """What torch's wheels for this CUDA hold; [] where it is not known."""
    major = cuda.split(".")[0]
    text = WHEELS.get(f"{major} {machine}") or WHEELS.get(cuda) or WHEELS.get(major) or ""
    return text.split()


def check_capability(gpu: Gpu, arches: list[str]) -> Line:
    """Code for sm_86 runs on 8.6 and 8.9, not on 9.0; compute_ (PTX) runs on all that is newer."""
    name, own = "capability", gpu.capability
    if own is None:
        return Line(name, "warn", "nvidia-smi does not say", "Run without --quick to try the card.")
    found = f"{own // 10}.{own % 10}" + ("" if own >= 80 else " (no bf16: trains in fp16)")
    code = [int(a[3:]) for a in arches if re.fullmatch(r"sm_\d+", a)]
    ptx = [int(a[8:]) for a in arches if re.fullmatch(r"compute_\d+", a)]
    least = max(OLDEST_CARD, min(code, default=0))
    if own < least:
        do = f"This torch needs {least // 10}.{least % 10} or newer: use a newer card or a CPU."
        return Line(name, "fail", f"{found}: {gpu.name} is too old", do)
    if not code or any(a // 10 == own // 10 and a <= own for a in code):
        return Line(name, "ok", found)
    if any(a <= own for a in ptx):
        do = "The first start compiles its kernels; a newer torch would bring them."
        return Line(name, "warn", f"{found}: {gpu.name} is newer than the wheels", do)
    do = "Use a torch build that has it (its CUDA version decides), or another card."
    return Line(name, "fail", f"{found}: the wheels hold no code for {gpu.name}", do)


def check_gpu_memory(gpu: Gpu, holders: tuple[str, ...]) -> Line:
    if gpu.total is None or gpu.free is None:
        return Line("gpu memory", "ok", "nvidia-smi does not say")
    found = f"{gpu.free / 1024:.1f} of {gpu.total / 1024:.1f} GiB free"
    if gpu.free >= max(0.8 * gpu.total, 4096):
        return Line("gpu memory", "ok", found)
    if gpu.free >= 0.8 * gpu.total:
        do = "Enough for models of 1B and less: name a small one, in 4 bit."
        return Line("gpu memory", "warn", found, do)
    # Processes of other containers are not shown to us.
    held = ", ".join(holders) or "processes that nvidia-smi does not show (another container?)"
    return Line("gpu memory", "warn", f"{found}; held by {held}", "End them, or wait for them.")


def check_torch(version: str, cuda: str | None, card: Card) -> Line:
    """`cuda`: what the build is for, None for a CPU build."""
    found = f"{version} for {f'CUDA {cuda}' if cuda else 'CPU'}"
    if cuda is None:
        if not card.gpus:
            return Line("torch", "ok", found)
        do = "Install requirements/cuda.txt, or use the CUDA image; else it trains on CPU."
        return Line("torch", "fail", f"{found}, on a machine with a GPU", do)
    if not card.gpus:
        return Line("torch", "ok", found)
    build, driver = numbers(cuda), numbers(card.gpus[0].driver)
    known, needed = numbers(card.cuda), OLDEST_DRIVER.get(build[0], max(OLDEST_DRIVER.values()))
    # nvidia-smi's CUDA decides where it is known: a compatibility package raises it.
    if known[:1] < build[:1] if known else driver[:1] < (needed,):
        do = f"Install NVIDIA driver {needed} or newer on the host, or a torch for an older CUDA."
        return Line("torch", "fail", f"{found}, too new for driver {card.gpus[0].driver}", do)
    return Line("torch", "ok", found)


def check_probe(facts: Mapping[str, Any], gpu: bool) -> list[Line]:
    """What the second process found: does torch see the GPU, is NF4 right, does Unsloth load?"""
    lines = []
    where = f"on {facts.get('device')}"
    if gpu and facts.get("device") == "cpu":
        do = "In a container: --gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility."
        why = facts.get("no_cuda") or "it gives no reason"
        lines.append(Line("torch and gpu", "fail", f"torch does not see the GPU: {why}", do))
    if facts.get("gap", 1) < 0.15:  # 0.07 for numbers of a normal distribution
        lines.append(Line("nf4", "ok", f"4-bit numbers work {where}"))
    elif "gap" in facts or "nf4_error" in facts:
        why = facts.get("nf4_error") or f"values come back off by {facts['gap']:.2g}"
        do = "Install bitsandbytes from requirements/, or train with model.bits=16."
        lines.append(Line("nf4", "fail", f"does not work {where}: {why}", do))
    if "seconds" in facts:
        return [*lines, Line("unsloth", "ok", f"loads in {facts['seconds']:.0f} s")]
    if facts.get("late"):
        do = "Again: the first import is the slowest. If it stays so: a slow disk, or few cores."
        return [*lines, Line("unsloth", "warn", f"has not loaded within {WAIT:.0f} s", do)]
    do = "Install from requirements/; `python -c 'import unsloth'` shows all of it."
    why = facts.get("error", "no answer")
    return [*lines, Line("unsloth", "fail", f"does not load: {why}", do)]
