"""Numbers as people read them: `82% [75 to 87]`, `+0.120 [+0.08 to +0.16] nats`."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.compare.measures import Unit

NONE = "-"


def plain(unit: Unit, value: float | None, interval: Sequence[float] | None = None) -> str:
    """A value with its interval; a change has its sign."""
    return _said(unit, value, interval, "+" if unit == "change" else "")


def signed(unit: Unit, value: float | None, interval: Sequence[float] | None = None) -> str:
    """A difference with its interval; of shares in points."""
    return _said(unit, value, interval, "+")


def _said(unit: Unit, value: float | None, interval: Sequence[float] | None, sign: str) -> str:
    if value is None:
        return NONE

    def one(number: float) -> str:
        return f"{number:{sign}.3f}" if unit == "nats" else f"{round(100 * number):{sign}d}"

    text = one(value) + ("" if unit == "nats" else "%")
    return text if interval is None else f"{text} [{one(interval[0])} to {one(interval[1])}]"
