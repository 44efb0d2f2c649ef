"""Fetches what the checks judge: commands, files of /proc and /sys, the hub's answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from appliance.doctor.checks import GPU_ONLY, TOGETHER, Answer
from appliance.doctor.nvidia import WAIT, Card, read_gpus
from appliance.memory import text

FIELDS = "index,name,driver_version,compute_cap,memory.total,memory.free"
HUB = "https://huggingface.co"


def card(seconds: float) -> Card:
    """Ask nvidia-smi, three questions at once: without persistence each wakes the driver."""
    on_bus = any(
        text(f"{device}/vendor").strip() == "0x10de" and text(f"{device}/class")[:4] == "0x03"
        for device in Path("/sys/bus/pci/devices").glob("*")
    ) or os.path.exists("/dev/nvidiactl")
    form = "--format=csv,noheader,nounits"
    questions = [[f"--query-gpu={FIELDS}", form], ["--query-compute-apps=name,used_memory", form]]
    asked: list[subprocess.Popen[str]] = []
    try:
        for question in [[], *questions]:
            asked.append(
                subprocess.Popen(
                    ["nvidia-smi", *question],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    text=True,
                )
            )
        end = time.monotonic() + seconds
        said = [p.communicate(timeout=max(0.01, end - time.monotonic()))[0] for p in asked]
    except OSError:
        return Card(on_bus=on_bus)
    except subprocess.TimeoutExpired:
        return Card(on_bus=on_bus, trouble=f"nvidia-smi does not answer within {seconds:g} s")
    finally:
        for process in asked:
            process.kill()
    return read_card(on_bus, *said)


def read_card(on_bus: bool, header: str, gpus: str, apps: str) -> Card:
    found = read_gpus(gpus)
    if not found and "No devices were found" not in gpus:
        lines = [line.strip() for line in gpus.splitlines() if line.strip()]
        return Card(on_bus=on_bus, trouble=" ".join(lines)[:160] or "nvidia-smi says nothing")
    cuda = re.search(r"CUDA (?:UMD )?Version\s*:\s*([\d.]+)", header)
    holders = [row.rpartition(", ") for row in apps.splitlines() if re.search(r", \d+$", row)]
    return Card(
        gpus=found,
        cuda=cuda[1] if cuda else "",
        holders=tuple(f"{Path(name).name} ({used} MiB)" for name, _, used in holders),
        on_bus=on_bus or bool(found),
    )


def versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in (*TOGETHER, *GPU_ONLY):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def torch_build() -> str | None:
    """The CUDA that torch was built for, read from its version file: importing it takes seconds."""
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        match = re.search(r"(?m)^cuda\b[^=\n]*= *'([\d.]+)'", text(f"{folder}/version.py"))
        if match:
            return match[1]
    return None


def is_container(env: Mapping[str, str]) -> bool:
    marks = ("APPLIANCE_IMAGE", "KUBERNETES_SERVICE_HOST", "container")
    files = ("/.dockerenv", "/run/.containerenv")
    return any(env.get(mark) for mark in marks) or any(map(os.path.exists, files))


def cores() -> int:
    """Those that we may use: affinity, and the control group's share."""
    count = len(os.sched_getaffinity(0))
    share = text("/sys/fs/cgroup/cpu.max").split()
    if len(share) == 2 and share[0].isdigit():
        count = min(count, max(1, round(int(share[0]) / int(share[1]))))
    return count


def nearest(path: Path) -> Path:
    """The folder that is there already, of those above `path`."""
    path = path.absolute()
    # os.path, because Path.exists raises where a folder above may not be entered.
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path.resolve()


def write_trouble(folder: Path) -> str:
    """Why no file can be made there; '' if it can. Rights alone do not tell (read-only mounts)."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def ask_hub(env: Mapping[str, str], seconds: float = 3.0) -> Answer:
    """One HEAD request with nothing in it. Never raises."""
    url = env.get("HF_ENDPOINT") or HUB
    match = re.match(r"https?://(?:[^/@]*@)?([^/@]+)", url)
    host = match[1] if match else "HF_ENDPOINT"  # never the whole: a password may be in it
    if env.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Answer(host, offline=True)
    found: list[Answer] = []
    # A thread, because a name server that is silent knows no time limit of ours.
    asking = Thread(target=lambda: found.append(_head(url, host, seconds)), daemon=True)
    asking.start()
    asking.join(seconds + 1)
    return found[0] if found else Answer(host, trouble=f"no answer within {seconds:g} s")


def _head(url: str, host: str, seconds: float) -> Answer:
    try:
        # The hub library's own client, so that proxy and certificates are tried as it uses them.
        import httpx

        reply = httpx.head(url, timeout=seconds, follow_redirects=True)
        ahead = None
        if date := reply.headers.get("date"):
            # A cache on the way hands on an old date, and says by how much in `age`.
            then = parsedate_to_datetime(date).timestamp() + float(reply.headers.get("age", 0))
            ahead = time.time() - then
        return Answer(host, reply.status_code, ahead=ahead)
    except Exception as error:
        return Answer(host, trouble=str(error).strip()[:120] or type(error).__name__)


class Probe:
    """The second process, started early and asked late."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.end = time.monotonic() + WAIT
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "appliance.doctor.probe"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def facts(self) -> dict[str, Any]:
        """What it found, and `late` or `error` where it did not come to its end."""
        late = False
        try:
            out, _ = self.process.communicate(timeout=max(0.1, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            late = True
        finally:
            self.process.kill()
        if late:
            out, _ = self.process.communicate()
        found: dict[str, Any] = {}
        for line in out.splitlines():
            with suppress(ValueError, TypeError):  # libraries print here too
                found |= json.loads(line)
        if late:
            return found | {"late": True}
        if code := self.process.returncode:
            return {"error": f"the process ended with {code}"} | found
        return found
