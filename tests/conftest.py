"""How the tests share the machine: said before anything is imported."""

from __future__ import annotations

import os

PROCESSORS = len(os.sched_getaffinity(0))
# Minutes each: begun first, so that at the end no process waits for another's last file.
LONGEST = ("test_kinds", "test_gate", "test_resume", "test_export", "test_signals", "test_axes",
           "test_memorization", "test_dpo", "test_ablate", "test_sft")  # fmt: skip
ONE_AT_A_TIME = ("tests/gpu", "tests/image")  # one card, one image

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, PROCESSORS // int(workers))))


def pytest_xdist_auto_num_workers(config) -> int:
    """Two: to start and to read takes one processor, whatever is done; more would take memory."""
    if any(place in str(arg) for arg in config.args for place in ONE_AT_A_TIME):
        return 0
    return min(2, PROCESSORS)


def pytest_collection_modifyitems(items) -> None:
    """A file's items stay together and in their order."""

    def place(item) -> int:
        stem = item.path.stem
        return LONGEST.index(stem) if stem in LONGEST else len(LONGEST)

    items.sort(key=place)
