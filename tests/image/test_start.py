"""What happens between `docker run` and the program: owner, rights, secrets, caches, warnings."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]


@pytest.fixture
def mount(workspace: Path) -> list[object]:
    return ["-v", f"{workspace}:/workspace"]


def test_alone_it_shows_help(run, built) -> None:
    for options in ([], ["-it"], ["--read-only"], ["--user", "1000:1000"]):
        done = run(options)
        assert done.returncode == 0, done.stderr
        assert "Usage: appliance " in done.stdout
        assert "train" in done.stdout


def test_any_verb_works_and_a_wrong_one_is_wrong_use(run, mount) -> None:
    assert "sft" in run(mount, "recipes", "list").stdout
    assert run(mount, "--version").stdout.strip()
    assert run(mount, "no-such-verb").returncode == 2


def test_doctor_answers(run, mount) -> None:
    done = run([*mount, "--network", "none"], "doctor", "--json")
    assert '"ok"' in done.stdout, done.stderr


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_shell_is_a_shell_of_the_owner_and_knows_the_verbs(run, mount, shell) -> None:
    done = run(mount, shell, "-c", "id -u; id -g; pwd; appliance --version")
    assert done.stdout.splitlines()[:3] == ["4321", "8765", "/workspace"], done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_the_program_is_process_one(run, mount) -> None:
    assert run(mount, "bash", "-c", "echo $$").stdout == "1\n"


def test_what_root_writes_belongs_to_the_owner_of_the_folder(run, mount, workspace) -> None:
    assert run(mount, "recipes", "copy", "sft").returncode == 0
    made = (workspace / "sft.yaml").stat()
    assert (made.st_uid, made.st_gid) == (4321, 8765)
    owners = {path.stat().st_uid for path in workspace.rglob("*")}
    assert owners == {4321}


def test_no_right_of_root_is_left(run, mount) -> None:
    done = run([*mount, "--group-add", "4000"], "bash", "-c", "id -G; cat /proc/self/status")
    assert done.stdout.splitlines()[0].split() == ["8765", "4000"], "the groups that were given"
    rights = dict(line.split(":\t") for line in done.stdout.splitlines()[1:] if ":\t" in line)
    assert {rights[name].strip("0") for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {""}


def test_user_is_obeyed(run, mount, workspace) -> None:
    done = run([*mount, "--user", "4321:8765"], "recipes", "copy", "sft")
    assert done.returncode == 0, done.stderr
    assert (workspace / "sft.yaml").stat().st_uid == 4321


def test_a_folder_of_root_stays_roots(run, mount, workspace) -> None:
    """So it is in a rootless engine, where root is the user who started it."""
    os.chown(workspace, 0, 0)
    assert run(mount, "bash", "-c", "id -u").stdout == "0\n"


@pytest.mark.parametrize(
    ("options", "mode", "do"),
    [
        (["--user", "1000:1000"], 0o755, "sudo chown -R 1000:1000"),
        (["--user", "1000:1000"], 0o755, "--user $(id -u):$(id -g)"),
        ([], 0o555, "chmod u+rwx"),
        (["--cap-drop", "ALL"], 0o755, "--user 4321:8765"),
    ],
)
def test_a_folder_that_cannot_be_written_is_said_at_once(
    run, mount, workspace, options, mode, do
) -> None:
    workspace.chmod(mode)
    run(mount, "--version")  # so that what follows is not the first start
    started = time.monotonic()
    done = run([*mount, *options], "train")
    seconds = time.monotonic() - started
    assert done.returncode == 2
    assert do in done.stderr
    assert done.stderr.count("\n") == 1, "one line"
    assert seconds < 2, "of which the engine itself takes half a second"


def test_a_mount_that_is_read_only_is_named(run, workspace) -> None:
    done = run(["-v", f"{workspace}:/workspace:ro"], "train")
    assert done.returncode == 2
    assert "without :ro" in done.stderr


def test_looking_needs_no_folder_that_can_be_written(run, mount) -> None:
    user = [*mount, "--user", "1000:1000"]
    assert run(user, "train", "--help").returncode == 0
    assert run(user, "bash", "-c", "true").returncode == 0
    assert "fail" in run(user, "doctor", "--quick").stdout


def test_nothing_mounted_is_warned_of_in_one_line(run) -> None:
    done = run([], "recipes", "list")
    assert "nothing is mounted at /workspace" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run(["--read-only"], "recipes", "list").returncode == 2


def test_a_cache_inside_the_container_is_warned_of(run, mount) -> None:
    done = run([*mount, "-e", "HF_HOME=/var/hub"], "recipes", "list")
    assert "HF_HOME=/var/hub is inside the container" in done.stderr
    assert "warning" not in run(mount, "recipes", "list").stderr


def test_caches_lie_in_the_mounted_folder(run, mount) -> None:
    lines = run(mount, "bash", "-c", "env").stdout.splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "TRITON_CACHE_DIR", "WANDB_CACHE_DIR",
                 "TORCHINDUCTOR_CACHE_DIR", "UNSLOTH_COMPILE_LOCATION"):  # fmt: skip
        assert env[name].startswith("/workspace/.cache"), name
    assert env["APPLIANCE_HOME"].startswith("/opt/")


def test_a_secret_comes_from_a_file_and_is_never_printed(run, mount, tmp_path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hf_secret\n")
    secret.chmod(0o400)  # root's, as engines mount them
    given = [*mount, "-v", f"{secret}:/run/token:ro", "-e", "HF_TOKEN_FILE=/run/token"]
    done = run(given, "bash", "-c", 'echo "$HF_TOKEN|${HF_TOKEN_FILE-}|$(id -u)"')
    assert done.stdout == "hf_secret||4321\n", done.stderr
    both = run([*given, "-e", "HF_TOKEN=other"], "doctor")
    assert both.returncode == 2
    assert "hf_secret" not in both.stdout + both.stderr + run(given, "doctor", "--quick").stdout
    gone = run([*mount, "-e", "WANDB_API_KEY_FILE=/nowhere"], "train")
    assert gone.returncode == 2
    assert "/nowhere" in gone.stderr
