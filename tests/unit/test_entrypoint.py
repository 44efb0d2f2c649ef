"""entrypoint.sh with a stand-in for Python and pip: what it installs, when, and what it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Writes down every call; `-m venv` copies itself; `-m pip --report` answers with $FAKE_REQUIRES.
FAKE_PYTHON = r"""#!/bin/bash
echo "$*" >>"$FAKE_CALLS"
case "$1 $2" in
"-c "*) exit "${FAKE_VERSION_WRONG:-0}" ;;
"-m venv")
    mkdir -p "$3/bin" "$3/lib/python3.11/site-packages"
    cp "$0" "$3/bin/python"
    ;;
"-m pip")
    previous=
    for argument in "$@"; do
        if [[ $previous == --report ]]; then
            printf '{"metadata": {"requires_dist": [%s]}}' "$FAKE_REQUIRES" >"$argument"
            exit
        fi
        previous=$argument
    done
    sleep "${FAKE_PIP_SECONDS:-0}"
    [[ -z ${FAKE_PIP_FAILS:-} ]] || { echo "no such package" >&2; exit 1; }
    ;;
"-m pytest" | "-P -m") printf '<%s>' "${@:3}"; echo " in $PWD, process $$" ;;
esac
"""


class Clone:
    """A copy of the checkout's entry point, with a Python that only pretends."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "a clone"
        self.home.mkdir()
        shutil.copy(ROOT / "entrypoint.sh", self.home)
        shutil.copytree(ROOT / "requirements", self.home / "requirements")
        self.python = folder / "python3.11"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self.calls_file = folder / "calls"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.env = {
            "PATH": os.environ["PATH"],
            "APPLIANCE_PYTHON": str(self.python),
            "APPLIANCE_LOCK": "cpu",
            "FAKE_CALLS": str(self.calls_file),
            "FAKE_REQUIRES": '"filelock", "sympy>=1.13.3"',
        }

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.home / "entrypoint.sh", *arguments],
            cwd=self.elsewhere,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def installs(self) -> list[str]:
        """Which locks pip was told to install so far."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [line.rpartition("/")[2] for line in lines if " -r " in line]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_the_first_start_installs_and_the_second_does_not(clone: Clone) -> None:
    first, second = clone.run("train"), clone.run("train")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "installing into" in first.stderr
    assert second.stderr == ""
    assert clone.installs() == ["cpu.txt"]
    site_packages = clone.home / ".venv/lib/python3.11/site-packages"
    assert (site_packages / "appliance.pth").read_text() == f"{clone.home}\n"


def test_arguments_folder_and_process_reach_the_program(clone: Clone) -> None:
    clone.run("doctor")
    process = clone.start("train", "a b", "", "--set=x='*'")
    out, _ = process.communicate(timeout=30)
    expected = (
        f"<appliance><train><a b><><--set=x='*'> in {clone.elsewhere}, process {process.pid}\n"
    )
    assert out == expected


def test_no_argument_shows_the_help(clone: Clone) -> None:
    assert clone.run().stdout.startswith("<appliance><--help>")


def test_a_failed_install_says_why_and_is_begun_anew(clone: Clone) -> None:
    failed = clone.run("train", FAKE_PIP_FAILS="1")
    assert failed.returncode == 1
    assert "no such package" in failed.stderr
    assert failed.stdout == ""
    (clone.home / ".venv/half").touch()
    assert clone.run("train").returncode == 0
    assert not (clone.home / ".venv/half").exists()
    assert clone.installs() == ["cpu.txt", "cpu.txt"]


def test_a_changed_lock_is_installed_anew(clone: Clone) -> None:
    clone.run("train")
    with (clone.home / "requirements/cpu.txt").open("a") as lock:
        lock.write("# changed\n")
    clone.run("train")
    clone.run("train")
    assert clone.installs() == ["cpu.txt", "cpu.txt"]


def test_of_two_first_starts_one_installs_and_the_other_waits(clone: Clone) -> None:
    both = [clone.start("train", FAKE_PIP_SECONDS="0.5") for _ in range(2)]
    said = [process.communicate(timeout=30)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert clone.installs() == ["cpu.txt"]
    assert sum("waiting" in text for text in said) == 1


def test_where_the_index_has_only_the_cuda_build_the_cuda_lock_is_installed(clone: Clone) -> None:
    requires = '"filelock", "nvidia-cudnn-cu13==9.20.0.48; platform_system == \\"Linux\\""'
    first = clone.run("train", FAKE_REQUIRES=requires)
    assert "only the CUDA build" in first.stderr
    assert clone.run("train").stderr == ""
    assert clone.installs() == ["cuda.txt"]


def test_another_lock_asked_for_is_installed(clone: Clone) -> None:
    clone.run("train")
    clone.run("train", APPLIANCE_LOCK="cuda")
    clone.run("train", APPLIANCE_LOCK="")  # what is made for CUDA serves a machine without it
    assert clone.installs() == ["cpu.txt", "cuda.txt"]


def test_the_tests_get_their_own_requirements_once_and_run_in_the_clone(clone: Clone) -> None:
    first, second = clone.run("test"), clone.run("test", "tests/unit", "-k", "a or b")
    assert first.returncode == 0, first.stderr
    assert second.stdout.startswith(f"<tests/unit><-k><a or b> in {clone.home}, ")
    assert clone.installs() == ["cpu.txt", "dev.txt"]


def test_in_the_image_nothing_is_installed(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(clone.python)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = clone.run("gate", "run", APPLIANCE_IMAGE="1", PATH=path)
    assert done.stdout.startswith("<appliance><gate><run>"), done.stderr
    assert not (clone.home / ".venv").exists()


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({"APPLIANCE_PYTHON": "/nowhere/python"}, "APPLIANCE_PYTHON=/nowhere/python"),
        ({"FAKE_VERSION_WRONG": "1"}, "is not a Python 3.11, 3.12 or 3.13"),
        ({"APPLIANCE_LOCK": "rocm"}, "neither cpu nor cuda"),
    ],
)
def test_wrong_use_says_what_to_do(clone: Clone, env: dict[str, str], what: str) -> None:
    done = clone.run("train", **env)
    assert done.returncode == 2
    assert what in done.stderr
    assert not (clone.home / ".venv").exists()


def test_a_folder_of_someone_else_is_left_alone(clone: Clone) -> None:
    theirs = clone.home / ".venv/theirs"
    theirs.parent.mkdir()
    theirs.touch()
    done = clone.run("train")
    assert done.returncode == 2
    assert "Move it away" in done.stderr
    assert theirs.exists()
