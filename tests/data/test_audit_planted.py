"""Planted faults in 5,000 rows are found, and little else with them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from appliance.data.audit.run import Audit, Part, Policy
from appliance.data.audit.verdict import verdict
from appliance.data.rows import Message, Row

ROWS = 5000
COUNTS = {"exact": 200, "near": 100, "contradiction": 60, "leak": 40, "secret": 30}


class Silent:
    def advance(self, steps: int = 1, note: str | None = None) -> None: ...


@contextmanager
def silent(what: str, total: int) -> Iterator[Silent]:
    yield Silent()


def row(prompt: str, answer: str, line: int, source: str = "train.jsonl") -> Row:
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Row(turns, source, line)


class Writer:
    """Questions in the words of our own texts, with the frequencies of a language."""

    def __init__(self, seed: int, labels: int) -> None:
        self.draw = random.Random(seed)
        starts, vowels = "bcdfghjklmnprstvw", "aeiou"
        made = {
            "".join(
                self.draw.choice(starts) + self.draw.choice(vowels)
                for _ in range(self.draw.choice((1, 2, 2, 3, 3)))
            )
            for _ in range(6000)
        }
        self.words = sorted(made)
        self.draw.shuffle(self.words)
        self.weights = [1 / (n + 5) for n in range(len(self.words))]
        self.labels = [f"label_{self.words[n]}" for n in range(labels)]

    def text(self, least: int, most: int) -> str:
        return " ".join(
            self.draw.choices(self.words, self.weights, k=self.draw.randint(least, most))
        )

    def question(self) -> str:
        return self.text(10, 30).capitalize() + "?"

    def answer(self) -> str:
        return self.draw.choice(self.labels) if self.labels else self.text(12, 40) + "."

    def paraphrase(self, prompt: str) -> str:
        """One or two edits as people make them: a word more, less, other, moved; signs, case."""
        words = prompt.rstrip("?").split()
        for _ in range(1 if len(words) < 16 else 2):
            place = self.draw.randrange(1, len(words))
            edit = self.draw.randrange(5)
            if edit == 0:
                words.insert(place, self.draw.choice(self.words))
            elif edit == 1:
                del words[place]
            elif edit == 2:
                words[place] = self.draw.choice(self.words)
            elif edit == 3:
                words[place - 1 : place + 1] = words[place - 1 : place + 1][::-1]
            else:
                words[place] += "s"
        said = " ".join(words)
        return self.draw.choice((said.lower(), said + "!", said.replace(" ", "  ", 1) + "?"))


SECRETS = (
    lambda d: "AKIA" + "".join(d.choices("ABCDEFGHJKLMNPQR234567", k=16)),
    lambda d: "ghp_" + "".join(d.choices("abcdefghijkmnopqrstXYZ0123456789", k=36)),
    lambda d: "xoxb-" + "-".join(str(d.randrange(10**11, 10**12)) for _ in range(2)) + "-abcdef12",
    lambda d: "sk_live_" + "".join(d.choices("abcdefghijkmnopqrst0123456789", k=24)),
    lambda d: "hf_" + "".join(d.choices("abcdefghijkmnopqrstABCDEF", k=34)),
    lambda d: f"password: {''.join(d.choices('abcdefgh', k=6))}{d.randrange(100, 999)}",
    lambda d: "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7",
    lambda d: f"postgres://admin:{''.join(d.choices('abcdefgh', k=9))}@db.corp.io/main",
    lambda d: f"4{''.join(d.choices('0123456789', k=14))}",
    lambda d: f"{''.join(d.choices('abcdefgh', k=6))}@{''.join(d.choices('klmnop', k=6))}.com",
)


def with_check_digit(digits: str) -> str:
    total = 0
    for place, sign in enumerate(reversed(digits)):
        value = int(sign) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def planted(labels: int) -> tuple[list[Row], list[Row], dict[str, set[int]], dict[str, set[int]]]:
    """(train, test, planted lines of each kind, lines that may rightly be found with them)."""
    writer = Writer(11, labels)
    draw = writer.draw
    base = ROWS - sum(COUNTS[kind] for kind in ("exact", "near", "contradiction"))
    made = [(writer.question(), writer.answer()) for _ in range(base)]
    origins = draw.sample(range(base), sum(COUNTS.values()))
    take = iter(origins)
    want = {kind: [next(take) for _ in range(n)] for kind, n in COUNTS.items()}
    for number, origin in enumerate(want["secret"]):
        secret = SECRETS[number % len(SECRETS)](draw)
        secret = with_check_digit(secret) if secret.isdigit() else secret
        prompt, answer = made[origin]
        made[origin] = (f"{prompt} {secret}", answer)
    rows = [("base", n, *texts) for n, texts in enumerate(made)]
    rows += [("exact", n, *made[n]) for n in want["exact"]]
    rows += [("near", n, writer.paraphrase(made[n][0]), made[n][1]) for n in want["near"]]
    for n in want["contradiction"]:
        other = writer.answer()
        while other == made[n][1]:
            other = writer.answer()
        rows.append(("contradiction", n, made[n][0], other))
    # The copies come after what they copy: it is the later row that is reported.
    head, tail = rows[:base], rows[base:]
    draw.shuffle(tail)
    train = [row(prompt, answer, n) for n, (_, _, prompt, answer) in enumerate(head + tail, 1)]
    lines = {kind: {n for n, r in enumerate(head + tail, 1) if r[0] == kind} for kind in COUNTS}
    lines["secret"] = {n + 1 for n in want["secret"]}
    also = {kind: {n + 1 for n in origins} for kind, origins in want.items()}
    test = [row(writer.question(), writer.answer(), n, "test.jsonl") for n in range(1, 461)]
    for n in want["leak"]:
        prompt = made[n][0] if draw.random() < 0.5 else writer.paraphrase(made[n][0])
        test.append(row(prompt, made[n][1], len(test) + 1, "test.jsonl"))
    lines["leak"] = set(range(461, 501))
    return train, test, lines, also


@pytest.fixture(scope="module", params=[0, 20], ids=["free answers", "labels"])
def audited(request: pytest.FixtureRequest) -> tuple[dict[str, Any], ...]:
    train, test, lines, also = planted(request.param)
    with Audit(Policy(), progress=silent) as audit:
        found = audit.run([Part("train", train, 5000), Part("test", test, 500)])
    return {item["kind"]: item for item in found["findings"]}, lines, also


@pytest.mark.parametrize(
    ("planted_kind", "kinds", "file"),
    [
        ("exact", ["exact_duplicates"], "train.jsonl"),
        ("near", ["near_duplicates"], "train.jsonl"),
        ("contradiction", ["contradictions"], "train.jsonl"),
        ("leak", ["leakage"], "test.jsonl"),
        ("secret", ["secrets", "personal_data"], "train.jsonl"),
    ],
)
def test_planted_faults_are_found_and_little_else(
    audited: Any, planted_kind: str, kinds: list[str], file: str
) -> None:
    findings, lines, also = audited
    found = {n for kind in kinds if kind in findings for n in findings[kind]["lines"].get(file, [])}
    want = lines[planted_kind]
    # Both sides of a contradiction are named, so the row that was contradicted is right too.
    right = want | (also["contradiction"] if planted_kind == "contradiction" else set())
    recall = len(found & want) / len(want)
    precision = len(found & right) / max(len(found), 1)
    print(f"{planted_kind}: recall {recall:.3f}, precision {precision:.3f}, n {len(found)}")
    assert recall >= 0.95
    assert precision >= 0.9


def test_nothing_but_what_was_planted_is_bad(audited: Any) -> None:
    findings, _, _ = audited
    bad = {kind for kind, item in findings.items() if item["level"] == "bad"}
    assert bad == {"secrets", "contradictions", "leakage"}
    assert verdict(list(findings.values()), ["secrets"]) == ("block", ["secrets"])
    assert verdict(list(findings.values()), [])[0] == "warn"


def test_no_example_shows_a_secret_whole(audited: Any) -> None:
    findings, _, _ = audited
    import json
    import re

    assert not re.search(r"ghp_[a-zA-Z0-9]{36}|AKIA[A-Z0-9]{16}", json.dumps(findings))
