"""What is seen on a row by itself, while the rows stream by: one pass, nothing kept but numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from appliance.data.audit import encodings, secrets, text
from appliance.data.audit.findings import Hits
from appliance.data.rows import Example, Message, Pair, Row

# More different answers than this are no labels, and are not counted any longer.
_LABELS, _LABEL_LENGTH = 1000, 100
_NOTHING = {"", "n/a", "na", "nan", "null", "undefined", "todo", "tbd", "[deleted]", "[removed]"}
_SAYS = re.compile(r"\w")


@dataclass(frozen=True)
class Sought:
    """Texts to be found inside others: `trace` is their beginnings, quick to look for."""

    trace: str = ""
    whole: str = ""


class Scan:
    """Feed it batches of rows with the number of the first; read `hits` and `labels` at the end."""

    def __init__(self, special: Sequence[str], probes: Sought) -> None:
        names = ("secrets", "personal_data", "control_tokens", "broken_encoding", "wrong_roles",
                 "empty_answers", "same_pair", "probe_contamination")  # fmt: skip
        self.hits = {name: Hits(name) for name in names}
        self.kinds: dict[str, Counter[str]] = {"secrets": Counter(), "personal_data": Counter()}
        self.labels: Counter[str] | None = Counter()
        self._marks = encodings.marks(special)
        self._probes = probes

    def batch(self, rows: Sequence[Example], first: int) -> None:
        texts = ["\n".join(m["content"] for m in turns(row)) for row in rows]
        for number, row in enumerate(rows, first):
            self._turns(number, row)
        for place in secrets.suspects(texts):
            self._secrets(first + place, texts[place])
        for place in secrets.matching(texts, encodings.TRACE):
            if wrong := encodings.fault(texts[place]):
                self.hits["broken_encoding"].add(first + place, wrong)
        for place in secrets.matching(texts, self._marks):
            found = re.search(self._marks, texts[place])
            self.hits["control_tokens"].add(first + place, found[0] if found else "")
        for place in secrets.matching(texts, self._probes.trace) if self._probes.trace else ():
            if re.search(self._probes.whole, texts[place]):
                self.hits["probe_contamination"].add(first + place, "word for word")

    def _turns(self, number: int, row: Example) -> None:
        roles = [m["role"] for m in row.prompt if m["role"] != "system"]
        if roles[:1] != ["user"] or any(a == b for a, b in pairwise(roles)):
            self.hits["wrong_roles"].add(number, " ".join(roles))
        elif roles[-1] != "user":
            self.hits["wrong_roles"].add(number, f"{' '.join(roles)} assistant")
        said = text.answer(row).strip()
        if not _SAYS.search(said) or said.lower() in _NOTHING:
            self.hits["empty_answers"].add(number, text.clip(said, 20))
        if isinstance(row, Pair):
            rejected = text.said(row, "rejected")
            if text.words(said) == text.words(rejected):
                self.hits["same_pair"].add(number)
        elif self.labels is not None:
            self.labels[said] += 1
            if len(said) > _LABEL_LENGTH or len(self.labels) > _LABELS:
                self.labels = None

    def _secrets(self, number: int, whole: str) -> None:
        seen: dict[str, list[str]] = {}
        for kind, what, _ in secrets.find(whole):
            if what not in seen.setdefault(kind, []):
                seen[kind].append(what)
        for kind, whats in seen.items():
            self.hits[kind].add(number, ", ".join(whats))
            self.kinds[kind].update(whats)


def turns(row: Example) -> Sequence[Message]:
    """All messages of a row; of a pair both answers."""
    if isinstance(row, Row):
        return row.messages
    return (*row.prompt, *row.chosen, *row.rejected)
