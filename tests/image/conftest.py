"""The image, built once from the very Dockerfile, and `docker` on the PATH to run it with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import image_engine as engine
import pytest
from helpers import ROOT

Docker = Callable[..., subprocess.CompletedProcess[str]]
OFF_TASK = '{"prompt": "What is the capital of France?"}\n'


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment whose `docker` is podman with a store of its own."""
    if reason := engine.lacking():
        pytest.skip(f"no image can be built here: {reason}")
    store = engine.default_store()
    engine.prepare(store)
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "docker"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {engine.__file__} {store} "$@"\n')
    script.chmod(0o755)
    yield {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    # What a test left running when its time was up.
    subprocess.run(engine.podman(store, "rm", "--all", "--force", "--time", "1"))


@pytest.fixture(scope="session")
def docker(environment: dict[str, str]) -> Docker:
    """Call `docker`, and wait for it."""

    def call(*arguments: object, timeout: float = 300, **options: object):
        # fmt: off
        return subprocess.run(
            ["docker", *map(str, arguments)], env=environment, capture_output=True, text=True,
            timeout=timeout, **options,
        )
        # fmt: on

    return call


@pytest.fixture(scope="session")
def built(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The image `appliance`, and how long it took. Where it fails it is not tried again."""
    started = time.monotonic()
    done = docker("build", "-t", "appliance", ROOT, timeout=1500)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return SimpleNamespace(name="appliance", seconds=time.monotonic() - started)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A folder to mount, of a uid that the machine does not know."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "off_task.jsonl").write_text(OFF_TASK * 8)
    for path in (folder, folder / "off_task.jsonl"):
        os.chown(path, 4321, 8765)
    yield folder
    os.chown(folder, 0, 0)


@pytest.fixture
def run(built: SimpleNamespace, docker: Docker) -> Docker:
    """`docker run --rm OPTIONS… appliance ARGUMENTS…`; OPTIONS and ARGUMENTS are two lists."""

    def call(options: list[object], *arguments: str, timeout: float = 300):
        return docker("run", "--rm", *options, built.name, *arguments, timeout=timeout)

    return call
