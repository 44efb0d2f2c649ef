"""The lines of the README, run as they stand, with podman in docker's place."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]


def block(name: str) -> str:
    """The first block of shell lines under the heading `In a container`."""
    text = (ROOT / name).read_text()
    found = re.search(r"^#+ In a container\n.*?^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no such block"
    return found[1]


def test_the_readme_and_the_page_about_the_image_say_the_same() -> None:
    assert block("README.md") == block("docs/image.md")


def test_the_lines_do_what_they_say(built, environment, workspace: Path) -> None:
    lines = [line for line in block("docs/image.md").splitlines() if line.strip()]
    assert lines[0].split()[:2] == ["docker", "build"]
    assert any(line.endswith(" train") for line in lines)
    for line in lines:
        folder = ROOT if line.startswith("docker build") else workspace
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True
        )
        # doctor: 1 where something is wrong with the machine, which it then says
        expected = (0, 1) if line.endswith(" doctor") else (0,)
        assert done.returncode in expected, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert list(workspace.glob("runs/*/report.html"))
    assert {path.stat().st_uid for path in workspace.rglob("*")} == {4321}
