"""compose.yaml and deploy/: each by the schema or the client that its own makers publish."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import ROOT

pytestmark = pytest.mark.image
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def checkers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the packages of requirements.txt can be imported."""
    folder = tmp_path_factory.mktemp("checkers")
    listed = Path(__file__).with_name("requirements.txt")
    # fmt: off
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
         "--no-deps", "--no-compile", "--target", str(folder), "-r", str(listed)],
        capture_output=True, text=True,
    )
    # fmt: on
    if done.returncode:
        pytest.skip(f"the checkers cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return {**os.environ, "PYTHONPATH": str(folder)}


def check(checkers: dict[str, str], code: str, *arguments: object) -> str:
    """Run code that asserts, in a Python of its own; what it says when it fails is returned."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=checkers, capture_output=True, text=True,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


COMPOSE = """
import sys; from compose_spec import PyCompose
PyCompose.from_yaml(open(sys.argv[1]).read()).validate()
"""


def test_compose(checkers, tmp_path) -> None:
    assert check(checkers, COMPOSE, ROOT / "compose.yaml") == ""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text().replace("read_only", "readonly"))
    assert "readonly" in check(checkers, COMPOSE, wrong), "the check can fail"
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["appliance"]
    assert service["volumes"] == [".:/workspace"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


KUBERNETES = """
import sys, yaml, kubernetes_validate as check
for part in yaml.safe_load_all(open(sys.argv[1])):
    check.validate(part, check.latest_version(), strict=True)
"""


def test_kubernetes(checkers, tmp_path) -> None:
    path = DEPLOY / "kubernetes-job.yaml"
    assert check(checkers, KUBERNETES, path) == ""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(path.read_text().replace("terminationGracePeriodSeconds", "gracePeriod"))
    assert "gracePeriod" in check(checkers, KUBERNETES, wrong), "the check can fail"
    claim, job = yaml.safe_load_all(path.read_text())
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "OnFailure"
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/workspace"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


# SkyPilot's schema of a task, without the server and the clouds that the package wants to import.
SKYPILOT = """
import sys, types, jsonschema, yaml, importlib.util; from unittest.mock import MagicMock
sky = types.ModuleType("sky")
sky.__version__, sky.__commit__ = "1.0.0", ""
sky.__path__ = importlib.util.find_spec("sky").submodule_search_locations
sys.modules["sky"] = sky
for name in ("sky.skylet.autostop_lib", "sky.server", "sky.server.daemons"):
    sys.modules[name] = MagicMock()
from sky.utils import schemas
task = yaml.safe_load(open(sys.argv[1]))
jsonschema.validate(task, schemas.get_task_schema())
jsonschema.validate(task["resources"], schemas.get_resources_schema())
"""


def test_skypilot(checkers, tmp_path) -> None:
    path = DEPLOY / "skypilot.yaml"
    assert check(checkers, SKYPILOT, path) == ""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(path.read_text().replace("disk_size", "disksize"))
    assert "disksize" in check(checkers, SKYPILOT, wrong), "the check can fail"
    assert "/workspace" in yaml.safe_load(path.read_text())["file_mounts"]


# The command line of Vast.ai's own client, which parses and sends nothing.
VAST = """
import json, sys
from vastai.cli.main import parser
import vastai.cli.commands.instances
given = vars(parser.parse_args(sys.argv[1:]))
print(json.dumps({key: value for key, value in given.items() if not callable(value)}))
"""


def test_vast(checkers, tmp_path) -> None:
    client = tmp_path / "vastai"
    (tmp_path / "parse.py").write_text(VAST)
    client.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/parse.py "$@"\n')
    client.chmod(0o755)
    env = {**checkers, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = [DEPLOY / "vast.sh", "1234"]
    done = subprocess.run(
        script, env={**env, "IMAGE": "there/appliance"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout.splitlines()[-1])
    assert (given["id"], given["image"], given["disk"]) == (1234, "there/appliance", 100)
    assert given["args"] == ["train", "--run", "runs/first"]
    assert subprocess.run(script, env=env, capture_output=True).returncode != 0, "no image named"


def test_runpod() -> None:
    """No package carries the schema of RunPod's templates: these are its published fields."""
    fields = {
        "name": str, "imageName": str, "category": str, "containerDiskInGb": int,
        "volumeInGb": int, "volumeMountPath": str, "ports": list, "env": dict,
        "dockerEntrypoint": list, "dockerStartCmd": list, "isPublic": bool, "isServerless": bool,
        "readme": str,
    }  # fmt: skip
    template = json.loads((DEPLOY / "runpod.json").read_text())
    assert {"name", "imageName"} <= set(template) <= set(fields)
    for name, value in template.items():
        assert type(value) is fields[name], name
    assert template["category"] in ("NVIDIA", "AMD", "CPU")
    assert template["volumeMountPath"] == "/workspace"
    assert all(isinstance(word, str) for word in template["dockerStartCmd"])
    assert not template["isPublic"]


def test_no_file_holds_a_secret() -> None:
    for path in [ROOT / "compose.yaml", *DEPLOY.iterdir()]:
        assert not re.search(r"hf_[A-Za-z0-9]{8}|[0-9a-f]{40}", path.read_text()), path.name
