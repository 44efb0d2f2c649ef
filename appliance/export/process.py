"""What runs in a process of its own: it may take much memory, or end the process itself."""

from __future__ import annotations

import os
import subprocess
import sys

from appliance.errors import ModelError


def told(words: list[str], what: str, do: str) -> str:
    """What `python WORDS` prints. Raises ModelError: `what` failed, with its last line, and `do`.

    On the CPU and without the hub.
    """
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"it ended with {done.returncode}"
        raise ModelError(f"{what} ({reason}).", do)
    return done.stdout
