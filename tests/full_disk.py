"""A prepared run on a small disk of its own, which is filled while it works.

    unshare -m python tests/full_disk.py RUN MOUNT

Fills the disk while a checkpoint is written, goes on, fills it while the merged model is, goes on.
Prints one JSON line: what was there after each.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE, LEFT = 900, 20  # MiB: of the disk; that are left when something is half written
PROGRAM = (
    "import sys; from appliance.cli import main;"
    "main(['train', sys.argv[1] + '/recipe.yaml', '--run', sys.argv[1]])"
)


def start(run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(run)], stderr=subprocess.PIPE, text=True
    )


def filled(run: Path, now: Callable[[], bool], part: Path) -> dict[str, Any]:
    """Start it; as soon as `now()`, halt it, take all but LEFT MiB, and let it go on to its end."""
    filler = run.parent / "filler"
    process = start(run)

    def fill() -> None:
        while process.poll() is None and not now():
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)
        free = shutil.disk_usage(run).free
        with filler.open("wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, max(1, free - LEFT * 2**20))
        process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=fill)
    thread.start()
    _, said = process.communicate()
    thread.join()
    filler.unlink()
    return {
        "code": process.returncode,
        "said": said[-1500:],
        "part": part.exists(),
        "checkpoints": sorted(p.name for p in run.glob("train/trainer/checkpoint-*")),
        "adapter": (run / "adapter" / "adapter_model.safetensors").is_file(),
        "merged": (run / "export" / "merged").exists(),
    }


def main() -> None:
    prepared, mount = Path(sys.argv[1]), Path(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "none", str(mount)], check=True)
    run = mount / "run"
    shutil.copytree(prepared, run)
    trainer = run / "train" / "trainer"
    # After the first: the next, which is larger than what is left, fills the disk half written.
    checkpoint = filled(run, lambda: any(trainer.glob("checkpoint-*")), trainer / ".part")
    merged = run / "export" / ".merged.part"
    export = filled(run, merged.exists, merged)
    last = start(run)
    _, said = last.communicate()
    print(json.dumps({
        "checkpoint": checkpoint, "export": export,
        "last": {"code": last.returncode, "said": said[-1500:],
                 "merged": (run / "export" / "merged" / "model.safetensors").is_file()},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
