"""`train` in the image, really run: without network, without rights, stopped, and gone on with."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]
# As little as there can be: a root that cannot be written, no network, 64 KiB of /dev/shm.
BARE = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--shm-size", "64k"]


def test_it_trains_with_no_network_on_a_read_only_root(run, workspace: Path) -> None:
    mount = ["-v", f"{workspace}:/workspace"]
    done = run([*BARE, *mount], "train", "--run", "runs/first", "--json", timeout=900)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)  # nothing but the summary came to stdout
    folder = workspace / "runs/first"
    for name in ("report.html", "adapter/adapter_model.safetensors", "export/merged/config.json"):
        assert (folder / name).is_file(), name
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in workspace.rglob("*")}
    assert owners == {(4321, 8765)}, "everything belongs to the owner of the folder"
    assert {path.name for path in workspace.iterdir()} == {".cache", "runs", "off_task.jsonl"}


def test_a_stop_reaches_it_and_the_same_command_goes_on(
    built, docker, environment, workspace: Path
) -> None:
    command = ["run", "--name", "stopped", *BARE, "-v", f"{workspace}:/workspace", built.name]
    docker("rm", "-f", "stopped")
    process = subprocess.Popen(
        ["docker", *command, "train", "--run", "runs/first"],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if "baseline" in line:
            break
    time.sleep(4)  # libraries import one another now, and some swallow every Exception meanwhile
    started = time.monotonic()
    docker("kill", "--signal", "TERM", "stopped")
    said += process.stderr.readlines()
    assert process.wait(timeout=60) == 143, "".join(said)
    seconds = time.monotonic() - started
    docker("rm", "-f", "stopped")
    assert seconds < 10, "docker stop kills after ten seconds"
    again = docker("run", "--rm", *command[3:], "train", "--run", "runs/first", timeout=900)
    assert again.returncode == 0, again.stderr
    assert "data: done before" in again.stderr
    assert (workspace / "runs/first/report.html").is_file()
