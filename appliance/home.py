"""Where the appliance keeps what is made once: the embedded model, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """APPLIANCE_HOME, by default `appliance` under the user's cache folder."""
    given = os.environ.get("APPLIANCE_HOME")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "appliance"
