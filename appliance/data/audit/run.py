"""The audit: rows stream in once, are compared on disk, and leave as one dict (audit.json)."""

from __future__ import annotations

import tempfile
import time
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from appliance.console import console
from appliance.data.audit import (
    contradictions,
    coverage,
    diversity,
    duplicates,
    index,
    leakage,
    lengths,
    preferences,
    present,
)  # fmt: skip
from appliance.data.audit.findings import LINES, Hits
from appliance.data.audit.scan import Scan
from appliance.data.audit.table import Table
from appliance.data.audit.verdict import verdict
from appliance.data.forms import SetAside
from appliance.data.rows import Example, Row
from appliance.errors import DataError, NoSpace

BATCH = 2048
SAME_PAIR = "chosen and rejected are the same"


@dataclass(frozen=True)
class Broken:
    """A row that could not be made into an example."""

    file: str
    line: int
    reason: str


Item = Example | SetAside | Broken


@dataclass(frozen=True)
class Part:
    """One part's rows, as they stream, and about how many there are."""

    name: str
    items: Iterable[Item]
    expected: int


class Bar(Protocol):
    def advance(self, steps: int = 1, note: str | None = None) -> None: ...


Progress = Callable[[str, int], AbstractContextManager[Bar]]


@dataclass(frozen=True)
class Policy:
    """What the recipe says about the audit."""

    near: float = 0.8
    block: Collection[str] = ("broken_rows", "secrets")
    plan: diversity.Plan = field(default_factory=diversity.Plan)
    seed: int = 3407


@dataclass
class Unread:
    """Rows that did not become examples: all counted, the first ones kept."""

    count: int = 0
    first: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, item: SetAside | Broken) -> None:
        self.count += 1
        if len(self.first) < LINES:
            self.first.append((item.file, item.line, item.reason))


class Audit:
    """One audit in a temporary folder. Use it as a context; the folder goes away at the end."""

    def __init__(
        self,
        policy: Policy,
        template: lengths.Template | None = None,
        probes: Sequence[Row] = (),
        progress: Progress = console.progress,
        folder: Path | None = None,
    ) -> None:
        self.policy, self.template, self.probes = policy, template, probes
        self.progress = progress
        self._aside = tempfile.TemporaryDirectory(prefix=".audit-", dir=folder)
        self.table = Table(Path(self._aside.name))
        self.broken, self.set_aside, self.same_pair = Unread(), Unread(), Unread()
        # What --fix does with each row of the training source, by its number there.
        self.fates = array("B")
        self.read = 0

    def __enter__(self) -> Audit:
        return self

    def __exit__(self, *_: object) -> None:
        self.table.close()
        self._aside.cleanup()

    def run(self, parts: Sequence[Part]) -> dict[str, Any]:
        """Read, compare, judge. Raises DataError when a file is damaged, NoSpace."""
        started = time.monotonic()
        try:
            scan = self._read(parts)
            found = self._findings(scan)
        except OSError as error:
            if error.errno == 28:
                raise NoSpace(
                    f"No space left for the audit's files in {tempfile.gettempdir()}.",
                    "Free some, or set TMPDIR to a disk that has room for twice the data.",
                ) from error
            raise
        said, stops = verdict(found["findings"], self.policy.block)
        seconds = time.monotonic() - started
        return {
            "version": 1,
            "verdict": said,
            "blocked_by": stops,
            "blocks": list(self.policy.block),
            "near": self.policy.near,
            "rows": {
                "read": self.read,
                "broken": self.broken.count,
                "set_aside": self.set_aside.count + self.same_pair.count,
                **leakage.counts(self.table),
            },
            **found,
            "seconds": round(seconds, 1),
        }

    def _read(self, parts: Sequence[Part]) -> Scan:
        special = self.template.special if self.template else ()
        scan = Scan(special, leakage.sought(list(self.probes)))
        with self.progress("audit: read", sum(part.expected for part in parts)) as bar:
            for part in parts:
                batch: list[Example] = []
                for ordinal, item in enumerate(part.items):
                    self.read += 1
                    if isinstance(item, (SetAside, Broken)):
                        self._unread(item)
                        continue
                    batch.append(item)
                    self.table.add(part.name, item, ordinal)
                    if len(batch) == BATCH:
                        scan.batch(batch, len(self.table) - len(batch))
                        bar.advance(len(batch))
                        batch = []
                scan.batch(batch, len(self.table) - len(batch))
                bar.advance(len(batch))
        if not len(self.table):
            raise DataError(*_unusable(self.broken, self.set_aside, self.same_pair))
        for probe in self.probes:
            self.table.add("probe", probe)
        self.table.end()
        return scan

    def _unread(self, item: SetAside | Broken) -> None:
        if isinstance(item, Broken):
            self.broken.add(item)
        elif item.reason == SAME_PAIR:
            self.same_pair.add(item)
        else:
            self.set_aside.add(item)

    def _findings(self, scan: Scan) -> dict[str, Any]:
        table, policy = self.table, self.policy
        seen = dict(scan.labels) if scan.labels is not None else None
        own = len(table.of(*duplicates.OWN))
        labelled = coverage.labels(seen, own)
        texts = index.Texts(table, policy.near)
        with self.progress("audit: compare", 2 * len(table)) as bar:
            _, prompts, rows = index.compare(
                texts, table.folder, labelled is None, lambda steps: bar.advance(steps)
            )
        exact = duplicates.exact(table)
        leaks, self.leaked = leakage.held_out(texts, prompts)
        hits = [
            exact,
            duplicates.near(texts, exact, prompts, rows),
            duplicates.prompts(table, prompts),
            contradictions.exact(texts),
            contradictions.near(texts, prompts),
            leaks,
            leakage.probes(texts, prompts, scan.hits.pop("probe_contamination")),
            preferences.both_orders(table),
            *lengths.answers(table),
            *(
                found
                for kind, found in scan.hits.items()
                if not (labelled and kind == "empty_answers")
            ),
        ]
        for kind, counted in scan.kinds.items():
            scan.hits[kind].facts = dict(counted)
        clusters, thin = coverage.clusters(texts, policy.seed)
        measured = diversity.measure(texts, policy.seed)
        bias, biased = preferences.length_bias(table, policy.seed)
        spread = {"words": lengths.words(table), "tokens": None}
        if self.template is not None:
            spread["tokens"], cut = lengths.tokens(table, self.template, policy.seed)
            hits.append(cut)
        train = len(table.of("train"))
        whole = [thin, biased, *diversity.judge(measured, train, policy.plan)]
        whole += _labels(labelled, seen or {})
        self.hits = {found.kind: found for found in (*hits, *whole)}
        shown = [present.finding(table, h, own) for h in hits if h.rows]
        shown += [present.finding(table, h, own) for h in whole if _said(h)]
        shown += self._unread_findings()
        return {
            "findings": present.ordered(present.joined(shown)),
            "lengths": spread,
            "labels": labelled,
            "clusters": clusters,
            "diversity": measured,
            "length_bias": bias,
        }

    def _unread_findings(self) -> list[dict[str, Any]]:
        return [
            present.unread(kind, unread.first, unread.count, self.read)
            for kind, unread in (("broken_rows", self.broken), ("set_aside", self.set_aside),
                                 ("same_pair", self.same_pair))
            if unread.count
        ]  # fmt: skip


def _said(hits: Hits) -> bool:
    """Findings about the rows as a whole have words of their own and no lines."""
    return "said" in hits.facts


def _labels(labelled: dict[str, Any] | None, seen: dict[str, int]) -> list[Hits]:
    if labelled is None:
        return []
    balance, variants = Hits("label_balance"), Hits("label_variants")
    rare = coverage.imbalance(labelled, seen)
    if rare:
        first = sorted(rare.items(), key=lambda item: item[1])[:5]
        listed = ", ".join(f"{label[:40]!r} {n}" for label, n in first)
        balance.facts = {
            "said": f"{len(rare)} of {labelled['count']} labels are rare ({listed}; the greatest "
            f"has {labelled['most']})"
        }
    twins = coverage.variants(seen)
    if twins:
        listed = ", ".join(f"{a[:40]!r} for {b[:40]!r}" for a, b in list(twins.items())[:5])
        variants.facts = {"said": f"{len(twins)}: {listed}"}
    return [balance, variants]


def _unusable(*unread: Unread) -> tuple[str, str]:
    first = next((u.first[0] for u in unread if u.first), None)
    if first is None:
        return "The data holds no rows.", "Give data with rows."
    total = sum(u.count for u in unread)
    return (
        f"{first[0]}:{first[1]} {first[2]}; none of the {total} rows can be used.",
        "Mend the rows, or say their form with --set data.form=FORM.",
    )
