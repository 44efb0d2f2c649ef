"""What the tests of several folders share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def appliance(*arguments: str, cwd: Path = ROOT, env: dict[str, str] | None = None):
    """The command line as a user runs it: its exit code, stdout and stderr."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=900,
    )


# A run of a few steps learns nothing that a gate would pass, and need not be asked all items.
UNJUDGED = ("evaluate.suites=[]", "policy.action=warn", "policy.dial=never")


def sets(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]
