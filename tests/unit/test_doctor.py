"""The doctor, with hand-written machines: what it calls ok, warn and fail, and what it says to do.

No torch: the second process is stood in for by the facts that it hands back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from appliance import doctor
from appliance.doctor import checks, look, probe, table
from appliance.doctor.checks import Answer, Line, Place

ROOT = Path(__file__).parents[2]
GOOD = {
    "torch": "2.13.0+cu130",
    "transformers": "5.17.0",
    "trl": "1.15.0",
    "peft": "0.21.2",
    "datasets": "4.8.5",
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "unsloth": "2026.10.9",
    "unsloth_zoo": "2026.10.9",
    "torchvision": "0.28.0",
    "triton": "3.7.1",
    "torchao": "0.18.0",
    "cut_cross_entropy": "25.1.1",
}


def statuses(lines: list[Line]) -> dict[str, str]:
    return {line.name: line.status for line in lines}


def test_versions_that_were_tried_together_are_one_ok_line() -> None:
    assert statuses(checks.check_versions(GOOD, gpu=True)) == {"versions": "ok"}


@pytest.mark.parametrize(
    ("name", "version", "why"),
    [
        ("peft", "0.17.1", "transformers 5"),
        ("transformers", "5.18.0", "5.17.0"),
        ("transformers", "4.57.1", "5.17"),
        ("trl", "1.15.1", "1.15.0"),
        ("datasets", "5.0.0", "<5"),
        ("torch", "2.15.0.dev20261101+cu130", "<2.15"),
        ("unsloth", "2026.10.7", "without a GPU"),
        ("bitsandbytes", None, "not installed"),
        ("triton", None, "a GPU needs it"),
    ],
)
def test_a_version_out_of_range_fails_by_name(name: str, version: str | None, why: str) -> None:
    (line,) = checks.check_versions(GOOD | {name: version}, gpu=True)
    assert (line.name, line.status) == (name, "fail")
    assert why in line.found
    assert "requirements/" in line.do


def test_what_only_a_gpu_needs_is_not_asked_for_without_one() -> None:
    assert statuses(checks.check_versions(GOOD | {"triton": None}, gpu=False)) == {"versions": "ok"}


def test_the_ranges_hold_what_the_lock_pins() -> None:
    lock = (ROOT / "requirements" / "cuda.txt").read_text().splitlines()
    pins = dict(line.split()[0].split("==") for line in lock if "==" in line.split()[0])
    installed = {name.replace("-", "_"): version for name, version in pins.items()}
    assert statuses(checks.check_versions(installed, gpu=True)) == {"versions": "ok"}


def test_python_is_judged() -> None:
    assert checks.check_python((3, 11, 7)).status == "ok"
    assert checks.check_python((3, 10, 2)).status == "fail"
    assert checks.check_python((3, 14, 0)).status == "fail"


def test_a_second_process_that_crashes_or_hangs_is_an_answer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert look.Probe().facts() == {"error": "the process ended with 1"}
    script = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(script))
    script.write_text("#!/bin/sh\necho; echo a banner; echo '{\"gap\": 0.07}'; exec sleep 9\n")
    script.chmod(0o755)
    monkeypatch.setattr(look, "WAIT", 0.2)
    assert look.Probe().facts() == {"gap": 0.07, "late": True}


def test_an_error_of_a_library_is_cut_to_one_line() -> None:
    assert probe.first_line(ImportError("no such\nand more")) == "ImportError: no such"


MEMINFO = "MemTotal:       24684084 kB\nMemFree:  100 kB\nMemAvailable:   23865696 kB\n"


def test_memory_is_the_containers_where_it_has_a_limit() -> None:
    assert checks.check_memory(MEMINFO, None).status == "ok"
    assert checks.check_memory(MEMINFO, 2**63).status == "ok"
    line = checks.check_memory(MEMINFO, 2 * 2**30)
    assert line.status == "warn"
    assert "limit" in line.found


@pytest.mark.parametrize(
    ("cpuinfo", "gpu", "status"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\n", False, "ok"),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", False, "ok"),
        ("Features\t: fp asimd bf16\n", False, "ok"),
        ("flags\t\t: fpu avx2\n", False, "warn"),
        ("flags\t\t: fpu avx2\n", True, "ok"),
    ],
)
def test_a_cpu_without_bf16_is_slow(cpuinfo: str, gpu: bool, status: str) -> None:
    assert checks.check_cpu(cpuinfo, "x86_64", 2, gpu).status == status


def test_shm_of_dockers_default_is_enough_and_less_is_warned_of() -> None:
    assert checks.check_shm(64 * 2**20).status == "ok"
    assert "--shm-size" in checks.check_shm(2**20).do
    assert checks.check_shm(None).status == "warn"


MOUNTS = """\
27 1 0:40 / / rw,relatime - overlay overlay rw
25 27 0:23 / /tmp rw - tmpfs tmpfs rw
30 27 8:1 /data /work\\040space rw,relatime master:1 - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("path", "lost"),
    [("/root/.cache", True), ("/work space/runs", False), ("/work spaces", True), ("/tmp/a", True)],
)
def test_only_a_mount_outlives_the_container(path: str, lost: bool) -> None:
    assert checks.lost_with_container(Path(path), MOUNTS) is lost


PLACE = Place("cache", Path("/c"), free=50 * 2**30)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "ok"),
        ({"free": 5 * 2**30}, "warn"),
        ({"free": 2**20}, "fail"),
        ({"free": 2**20, "enough": True}, "ok"),
        ({"lost": True}, "warn"),
        ({"trouble": "Read-only file system"}, "fail"),
        ({"trouble": "Read-only file system", "needed": False}, "warn"),
        ({"trouble": "Read-only file system", "enough": True}, "ok"),
    ],
)
def test_a_place_must_be_writable_roomy_and_lasting(change: dict, status: str) -> None:
    line = checks.check_place(replace(PLACE, **change), "set APPLIANCE_HOME", "1000:1000")
    assert line.status == status
    assert bool(line.do) == (status != "ok")
    assert "trouble" not in change or status == "ok" or "chown -R 1000:1000" in line.do


def test_writing_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    assert look.nearest(tmp_path / "a" / "b") == tmp_path
    assert look.write_trouble(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "file"
    file.touch()
    assert look.write_trouble(look.nearest(file / "runs")) == "Not a directory"


def test_the_embedded_model_may_still_have_to_be_converted() -> None:
    assert checks.check_embedded(True, False).status == "ok"
    assert checks.check_embedded(False, False).status == "warn"


@pytest.fixture
def hub():
    """A hub of our own: its status and how wrong its clock is can be set."""

    class Handler(BaseHTTPRequestHandler):
        status, off, asked = 200, 0.0, []

        def do_HEAD(self) -> None:
            Handler.asked.append(dict(self.headers))
            self.send_response_only(Handler.status)
            self.send_header("Date", self.date_time_string(time.time() + Handler.off))
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    yield Handler
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_without_a_word_about_us_and_tells_the_time(hub, monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"}
    answer = look.ask_hub(env)
    assert checks.check_hub(answer).status == checks.check_clock(answer).status == "ok"
    hub.off, hub.status = -600.0, 503
    answer = look.ask_hub(env)
    assert checks.check_hub(answer).status == checks.check_clock(answer).status == "warn"
    assert "10 minutes ahead" in checks.check_clock(answer).found
    assert "hf_secret" not in str(hub.asked)
    assert {h.lower() for h in hub.asked[0]} <= {
        *("host", "accept", "accept-encoding", "connection", "user-agent")
    }


def test_no_hub_is_a_warning_and_offline_is_none(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answer = look.ask_hub({"HF_ENDPOINT": "http://me:password@127.0.0.1:9"})
    line = checks.check_hub(answer)
    assert line.status == "warn"
    assert "no network" in line.do
    assert "password" not in line.found + line.do
    assert checks.check_clock(answer).status == "ok"
    assert look.ask_hub({"HF_HUB_OFFLINE": "1"}).offline
    assert checks.check_hub(Answer("h", offline=True)).status == "ok"
    assert look.ask_hub({"HF_ENDPOINT": "http://["}).trouble


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hf_secret\n")
    cases = {
        "not set": {},
        "set": {"HF_TOKEN": "hf_secret"},
        "set by HF_TOKEN_FILE": {"HF_TOKEN_FILE": str(file)},
    }
    for found, env in cases.items():
        assert checks.check_secret("HF_TOKEN", env) == Line("HF_TOKEN", "ok", found)
    for env in ({"HF_TOKEN": "hf_secret\n"}, {"HF_TOKEN": ""}, {"HF_TOKEN_FILE": "/nope"}):
        line = checks.check_secret("HF_TOKEN", env)
        assert line.status == "warn"
        assert "hf_secret" not in line.found + line.do


def test_the_table_is_aligned() -> None:
    lines = [Line("a", "ok", "fine"), Line("longer", "fail", "bad", "Mend it.")]
    assert table(lines).splitlines() == [
        "ok   a      fine",
        "fail longer bad",
        "            -> Mend it.",
    ]


def test_a_user_without_a_home_is_told_to_name_one(monkeypatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("APPLIANCE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    (line,) = doctor.places()
    assert line.status == "fail"
    assert "APPLIANCE_HOME" in line.do


def test_quick_is_quick_and_loads_no_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "appliance", "doctor", "--quick", "--json"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "APPLIANCE_HOME": str(tmp_path / "cache")}
    best = 9.0
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        best = min(best, time.perf_counter() - start)
    facts = json.loads(done.stdout)
    assert done.returncode == (0 if facts["ok"] else 1), done.stderr
    assert {"name", "status", "found", "do"} == set(facts["lines"][0])
    assert {"versions", "runs", "cache", "/dev/shm"} <= {line["name"] for line in facts["lines"]}
    if facts["lines"][1]["found"].startswith("none"):
        assert facts["ok"], facts  # what the tests run on is a machine that trains
    assert best < 1
    assert list(tmp_path.iterdir()) == []
    code = "import sys, appliance.doctor as d; d.examine(True); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert {"torch", "httpx", "unsloth"}.isdisjoint(done.stdout.split())
