"""The form of audit.json, as far as a page shows it (`shapes.py` says how it is read)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from appliance.report.shapes import Shape, Value


class Bin(Shape):
    """Rows whose length is `low` to `high`."""

    low: int = Field(alias="from")
    high: int = Field(alias="to")
    rows: int


class Lengths(Shape):
    unit: str = ""
    sample: int = 0
    of: int = 0
    limit: int | None = None
    median: Value = None
    p95: Value = None
    most: Value = None
    histogram: tuple[Bin, ...] = ()


class Words(Shape):
    prompt: Lengths = Lengths()
    answer: Lengths = Lengths()


class Spread(Shape):
    words: Words = Words()
    tokens: Lengths | None = None


class Like(Shape):
    where: str = ""
    prompt: str = ""
    answer: str = ""
    rejected: str | None = None


class Example(Like):
    note: str = ""
    like: Like | None = None


class Finding(Shape):
    kind: str
    title: str
    level: str
    rows: int = 0
    share: float = 0.0
    lines: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)
    why: str = ""
    do: str = ""


class Label(Shape):
    label: str
    rows: int


class Labels(Shape):
    count: int
    most: int
    least: int
    balance: tuple[Label, ...] = ()


class Cluster(Shape):
    words: tuple[str, ...] = ()
    rows: int = 0
    thin: bool = False
    examples: tuple[str, ...] = ()


class AuditRows(Shape):
    read: int = 0
    train: int = 0
    valid: int = 0
    test: int = 0
    set_aside: int = 0
    broken: int = 0


class Audit(Shape):
    verdict: str
    blocked_by: tuple[str, ...] = ()
    rows: AuditRows
    findings: tuple[Finding, ...] = ()
    lengths: Spread = Spread()
    labels: Labels | None = None
    clusters: tuple[Cluster, ...] | None = None
