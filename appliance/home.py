"""Where the appliance keeps what is made once: the embedded model, compiled kernels."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path


def home() -> Path:
    """APPLIANCE_HOME, by default `appliance` under the user's cache folder."""
    given = os.environ.get("APPLIANCE_HOME")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "appliance"


@cache
def code(room: str = "") -> str:
    """sha256 over the package's own code, or a folder of it: what is kept was computed by it."""
    whole = hashlib.sha256()
    package = Path(__file__).parent / room
    for path in sorted(package.rglob("*.py")):
        whole.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def only_newest(folder: Path, count: int) -> None:
    """Delete all files and folders in it but `count`: they are made again where they are gone.

    Of two runs that delete at once, one finds something gone, which is no error.
    """
    found = []
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    for _, path in sorted(found)[:-count]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
