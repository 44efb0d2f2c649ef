"""Write requirements/cpu.txt, cuda.txt and dev.txt: every package, exact, for `pip --no-deps`.

    python requirements/lock.py [--upgrade NAME ... | --upgrade all]

pip itself cannot resolve this set: one requirement of Unsloth is not published, and some are not
wanted on a CPU. So this walks the requirements from pyproject.toml, asks pip for the metadata of
what is missing, and leaves out what `[tool.lock.exceptions]` names. A version already in a lock
stays, unless it no longer fits or `--upgrade` names it. Needs `packaging` and pip 23.3 or newer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).resolve().parent
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
PLACES = [(p, m) for p in PYTHONS for m in MACHINES]
# What the CUDA build of torch asks for, and its CPU build does not.
CUDA_ONLY = re.compile(r"(nvidia|cuda)-.+|triton")

Place = tuple[str, str]
Metadata = dict[tuple[str, str], list[Requirement]]


@dataclass
class Want:
    """Everything that is asked of one package."""

    spec: SpecifierSet = field(default_factory=SpecifierSet)
    by: set[str] = field(default_factory=set)
    places: set[Place] = field(default_factory=set)


def marker_environment(place: Place, extra: str) -> dict[str, str]:
    python, machine = place
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_machine": machine,
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": extra,
    }


def applies(requirement: Requirement, place: Place, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate(marker_environment(place, extra)) for extra in ("", *extras)
    )


def ask_pip(specs: list[str], metadata: Metadata) -> dict[str, str]:
    """Ask pip for the newest versions that fit; note their metadata; return name -> version."""
    # The plain index alone: a local folder of CPU builds would hide what the CUDA build needs.
    env = os.environ | {
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_CONFIG_FILE": os.devnull,
    }
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps"]
    command += ["--ignore-installed", "--report", "-", *specs]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    answers: dict[str, str] = {}
    for item in json.loads(done.stdout)["install"]:
        about = item["metadata"]
        name = canonicalize_name(about["name"])
        answers[name] = about["version"]
        lines = about.get("requires_dist", [])
        metadata[name, about["version"]] = [Requirement(line) for line in lines]
    return answers


def walk(
    roots: list[Requirement],
    chosen: dict[str, str],
    metadata: Metadata,
    skip: set[tuple[str, str]],
    together: dict[str, SpecifierSet],
    cpu: bool,
) -> dict[str, Want]:
    """Follow the requirements as far as the metadata is known."""
    wants: dict[str, Want] = {}
    for place in PLACES:
        seen: set[tuple[str, str]] = set()
        queue: list[tuple[str, Requirement, tuple[str, ...]]]
        queue = [("appliance", r, ()) for r in roots]
        while queue:
            by, requirement, extras = queue.pop()
            name = canonicalize_name(requirement.name)
            if not applies(requirement, place, extras) or (by, name) in skip:
                continue
            if cpu and by == "torch" and CUDA_ONLY.fullmatch(name):
                continue
            want = wants.setdefault(name, Want(together.get(name, SpecifierSet())))
            want.spec &= requirement.specifier
            want.by.add(by)
            want.places.add(place)
            version = chosen.get(name)
            if version is None:
                continue
            for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
                seen.add((name, extra))
                wanted = metadata.get((name, version), [])
                queue += [(name, r, (extra,) if extra else ()) for r in wanted]
    return wants


def resolve(
    roots: list[Requirement],
    keep: dict[str, str],
    skip: set[tuple[str, str]],
    together: dict[str, SpecifierSet],
    metadata: Metadata,
    cpu: bool = False,
) -> dict[str, tuple[str, Want]]:
    chosen: dict[str, str] = {}
    while True:
        wants = walk(roots, chosen, metadata, skip, together, cpu)
        misfits = {
            name: want
            for name, want in wants.items()
            if name not in chosen or not want.spec.contains(chosen[name], prereleases=True)
        }
        if not misfits:
            return {name: (chosen[name], want) for name, want in sorted(wants.items())}
        ask = []
        for name, want in misfits.items():
            kept = keep.get(name)
            if kept is None or not want.spec.contains(kept, prereleases=True):
                ask.append(f"{name}{want.spec}")
            elif (name, kept) in metadata:
                chosen[name] = kept
            else:
                ask.append(f"{name}=={kept}")
        if ask:
            print(f"asking pip for {len(ask)}: {' '.join(sorted(ask))}", file=sys.stderr)
            chosen |= ask_pip(sorted(ask), metadata)


def marker_for(places: set[Place]) -> str:
    """The marker that is true in just these places ('' for all)."""
    if places == set(PLACES):
        return ""
    machines = {m for _, m in places}
    pythons = [p for p in PYTHONS if any(q == p for q, _ in places)]
    if places != {(p, m) for p in pythons for m in machines}:
        raise SystemExit(f"no simple marker for {sorted(places)}")
    parts = []
    if len(machines) < len(MACHINES):
        parts.append(f'platform_machine == "{machines.pop()}"')
    if pythons != list(PYTHONS):
        first = PYTHONS.index(pythons[0])
        if pythons == list(PYTHONS[: len(pythons)]):
            parts.append(f'python_version <= "{pythons[-1]}"')
        elif pythons == list(PYTHONS[first:]):
            parts.append(f'python_version >= "{pythons[0]}"')
        else:
            raise SystemExit(f"no simple marker for {pythons}")
    return " ; " + " and ".join(parts)


def read_lock(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            match = re.match(r"([A-Za-z0-9._-]+)==([^\s;+]+)", line)
            if match:
                found[canonicalize_name(match[1])] = match[2]
    return found


def write_lock(
    path: Path, title: str, exceptions: list[str], packages: dict[str, tuple[str, Want]]
) -> None:
    lines = [f"# {title} Written by requirements/lock.py.", "# pip install --no-deps -r this"]
    lines += [f"# exception: {e}" for e in exceptions]
    for name, (version, want) in packages.items():
        pin = f"{name}=={Version(version).public}{marker_for(want.places)}"
        by = sorted(want.by)
        via = ", ".join(by[:4]) + (f" and {len(by) - 4} more" if len(by) > 4 else "")
        lines.append(f"{pin}  # {via}")
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.name}: {len(packages)} packages", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--upgrade", nargs="+", default=[], metavar="NAME")
    upgrade = {canonicalize_name(n) for n in parser.parse_args().upgrade}

    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    lock = project["tool"]["lock"]
    runtime = [Requirement(r) for r in project["project"]["dependencies"] + lock["data"]]
    dev = [Requirement(r) for r in project["project"]["optional-dependencies"]["dev"]]
    pins = [Requirement(r) for r in lock["together"]]
    together: dict[str, SpecifierSet] = {canonicalize_name(r.name): r.specifier for r in pins}
    exceptions = lock["exceptions"]

    def kept(name: str) -> dict[str, str]:
        old = read_lock(HERE / name)
        return {n: v for n, v in old.items() if "all" not in upgrade and n not in upgrade}

    def skipped(lines: list[str]) -> set[tuple[str, str]]:
        pairs = [line.split(":")[0].split(" needs ") for line in lines]
        return {(canonicalize_name(a), canonicalize_name(b)) for a, b in pairs}

    metadata: Metadata = {}
    off_gpu = exceptions["all"] + exceptions["cpu"]
    keep = kept("cuda.txt") | kept("cpu.txt")
    cpu = resolve(runtime, keep, skipped(off_gpu), together, metadata, cpu=True)
    same = keep | {n: Version(v).public for n, (v, _) in cpu.items()}
    cuda = resolve(runtime, same, skipped(exceptions["all"]), together, metadata)
    differ = [n for n, (v, _) in cpu.items() if cuda[n][0] != v]
    if differ:
        raise SystemExit(f"cpu.txt and cuda.txt would differ in {differ}: add them to `together`")
    tools = resolve(dev, kept("dev.txt") | same, set(), together, metadata, cpu=True)
    tools = {n: found for n, found in tools.items() if n not in cpu}

    write_lock(HERE / "cpu.txt", "Everything, for a machine without a GPU.", off_gpu, cpu)
    write_lock(HERE / "cuda.txt", "Everything, for an NVIDIA GPU.", exceptions["all"], cuda)
    write_lock(HERE / "dev.txt", "What the tests need, on top of cpu.txt or cuda.txt.", [], tools)


if __name__ == "__main__":
    main()
