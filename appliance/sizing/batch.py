"""Rows at once: the largest divisor of the effective batch that is wanted."""

from __future__ import annotations

# Tokens at once on a CPU; more would not be faster on few cores.
CPU_TOKENS = 2048


def cpu_rows(longest: int) -> int:
    """As many rows as keep CPU_TOKENS even when all are that long."""
    return max(1, CPU_TOKENS // max(1, longest))


def divisor(batch: int, most: int) -> int:
    """The largest divisor of `batch` that is no more than `most`; 1 at least."""
    return max(m for m in range(1, max(1, min(most, batch)) + 1) if batch % m == 0)
