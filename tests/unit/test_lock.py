"""The locks are closed: every requirement of a locked package is in the lock, and in range."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
# What the CUDA build of torch asks for, and its CPU build does not.
CUDA_ONLY = re.compile(r"(nvidia|cuda)-.+|triton")


@dataclass
class Lock:
    packages: dict[str, str]
    exceptions: set[tuple[str, str]]


def read(name: str) -> Lock:
    lock = Lock({}, set())
    for line in (REQUIREMENTS / name).read_text().splitlines():
        if match := re.fullmatch(r"# exception: (\S+) needs (\S+): .+", line):
            lock.exceptions.add((match[1], match[2]))
        elif not line.startswith("#"):
            requirement = Requirement(line.split("  #")[0])
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            assert requirement.name not in lock.packages
            lock.packages[canonicalize_name(requirement.name)] = pin.version
    return lock


def closure_faults(lock: Lock, present: dict[str, str], cpu: bool) -> list[str]:
    """What the installed packages of `lock` ask for and `present` does not give."""
    faults, used = [], set()
    extras: dict[str, set[str]] = {}
    todo = [(name, "") for name in lock.packages]
    while todo:
        name, extra = todo.pop()
        if extra in extras.setdefault(name, set()):
            continue
        extras[name].add(extra)
        try:
            lines = importlib.metadata.distribution(name).requires or []
        except importlib.metadata.PackageNotFoundError:
            continue  # a marker keeps it off this machine
        for requirement in map(Requirement, lines):
            needed = canonicalize_name(requirement.name)
            marker = requirement.marker
            if marker and not marker.evaluate({"extra": extra}):
                continue
            if cpu and name == "torch" and CUDA_ONLY.fullmatch(needed):
                continue
            version = present.get(needed)
            if version and requirement.specifier.contains(version, prereleases=True):
                todo += [(needed, e) for e in requirement.extras]
            elif (name, needed) in lock.exceptions:
                used.add((name, needed))
            else:
                faults.append(f"{name} needs {requirement}: the lock has {version}")
    faults += [f"exception never used: {a} needs {b}" for a, b in lock.exceptions - used]
    return faults


def is_cuda_installed() -> bool:
    return any(d.name.startswith("nvidia-") for d in importlib.metadata.distributions())


@pytest.mark.parametrize("name", ["cpu.txt", "cuda.txt", "dev.txt"])
def test_every_requirement_of_a_locked_package_is_locked_and_in_range(name: str) -> None:
    if name == "cuda.txt" and not is_cuda_installed():
        pytest.skip("the CUDA packages are not installed here")
    lock = read(name)
    present = lock.packages | (read("cpu.txt").packages if name == "dev.txt" else {})
    assert closure_faults(lock, present, cpu=name != "cuda.txt") == []


@pytest.mark.parametrize("name", ["cpu.txt", "dev.txt"])
def test_what_is_installed_is_what_is_locked(name: str) -> None:
    lock = read(name)
    installed = {n: importlib.metadata.version(n).split("+")[0] for n in lock.packages}
    assert installed == lock.packages


def test_cuda_lock_has_every_package_of_the_cpu_lock_at_the_same_version() -> None:
    cpu, cuda = read("cpu.txt"), read("cuda.txt")
    assert cpu.packages.items() <= cuda.packages.items()
    assert {"diffusers", "torchvision", "triton"} <= cuda.packages.keys() - cpu.packages.keys()


def test_no_locked_package_is_there_for_nothing() -> None:
    named = set()
    for name in ("cpu.txt", "cuda.txt", "dev.txt"):
        for line in (REQUIREMENTS / name).read_text().splitlines():
            if not line.startswith("#") and not line.partition("  # ")[2]:
                named.add(line)
    assert named == set()


def test_a_requirement_out_of_range_is_reported() -> None:
    lock = read("cpu.txt")
    present = lock.packages | {"numpy": "1.0"}
    faults = closure_faults(lock, present, cpu=True)
    assert any(f.startswith("scipy needs numpy") for f in faults)


def test_an_exception_that_nothing_needs_is_reported() -> None:
    lock = read("cpu.txt")
    lock.exceptions.add(("torch", "nothing"))
    faults = closure_faults(lock, lock.packages, cpu=True)
    assert faults == ["exception never used: torch needs nothing"]
