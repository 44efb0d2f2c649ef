"""How the tests share the machine: said before anything is imported."""

from __future__ import annotations

import os

PROCESSORS = len(os.sched_getaffinity(0))
ONE_AT_A_TIME = ("tests/gpu", "tests/image")  # one card, one image

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, PROCESSORS // int(workers))))


def pytest_xdist_auto_num_workers(config) -> int:
    """Two: to start and to read takes one processor, whatever is done; more would take memory."""
    if any(place in str(arg) for arg in config.args for place in ONE_AT_A_TIME):
        return 0
    return min(2, PROCESSORS)
