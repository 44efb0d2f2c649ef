"""How much memory there is: the machine's, and the container's share of it."""

from __future__ import annotations

import re
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

GIB = 2**30
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def text(path: str) -> str:
    """What a file of the system says; "" where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def limit(paths: tuple[str, ...] = LIMITS) -> int | None:
    """The control group's limit in bytes (version 2, then 1)."""
    return next((int(said) for path in paths if (said := text(path).strip()).isdigit()), None)


def resident_peak() -> int:
    """Bytes of this process's program. What `getrusage` says is preserved across an execve
    (getrusage(2)): it is the peak of whoever started the process, where that is more.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", text("/proc/self/status"))
    return int(found[1]) * 1024 if found else getrusage(RUSAGE_SELF).ru_maxrss * 1024


def free() -> int | None:
    """Bytes that are free for this process; None where nothing says so."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", text("/proc/meminfo"))
    machine = int(found[1]) * 1024 if found else None
    most, used = limit(), limit(USED)
    left = None if most is None or used is None else max(0, most - used)
    return min((part for part in (machine, left) if part is not None), default=None)
