"""Make the demo task: `python -m appliance.data.demo.make [--check]`.

The same files come out on every machine: one fixed seed, the standard library, no network.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from appliance.data.demo import patterns as p
from appliance.data.demo import replies as r
from appliance.data.demo.faults import FAULTS
from appliance.data.demo.wishes import WISHES

HERE = Path(__file__).resolve().parent
SEED = 20261105
# Rows in each of the 18 cells (6 queues x 3 extents): 648, 162 and 234 in all.
TRAIN_PER_CELL, TEST_PER_CELL, PAIRS_PER_CELL = 36, 9, 13
MIN_WORDS, MAX_WORDS = 12, 40
REPLY_MIN, REPLY_MAX = 12, 35
# A test ticket this close to a training ticket (shared words / all words) is thrown away.
NEAR = 0.7
TYPOS = (("because", "becuase"), ("please", "pls"), ("cannot", "can not"), ("that", "taht"))


T = TypeVar("T")


@dataclass(frozen=True)
class Ticket:
    queue: str
    blocked: str
    text: str
    is_wish: bool


class Deck:
    """Draws from a shuffled list and shuffles again at its end, so that all items come up alike."""

    def __init__(self, rng: random.Random, items: Sequence[str]) -> None:
        self.rng, self.items = rng, list(items)
        self.left: list[str] = []

    def draw(self) -> str:
        if not self.left:
            self.left = self.items.copy()
            self.rng.shuffle(self.left)
        return self.left.pop()


def words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w'-]+", text.lower()))


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Token Jaccard: the share of all words that both have."""
    return len(a & b) / len(a | b)


def answer(queue: str, blocked: str) -> str:
    return f"queue={queue}; blocked={blocked}"


def polish(text: str) -> str:
    """Capital letters at the start of sentences, single spaces."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"^[a-z]", lambda m: m[0].upper(), text)
    return re.sub(r"([.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def after_greeting(greeting: str, text: str) -> str:
    """`text` goes on after "Hello," without a capital, but for "I" and words like URGENT."""
    if re.match(r"[A-Z]", text) and not re.match(r"I\b|[A-Z]{2}", text):
        text = text[0].lower() + text[1:]
    return f"{greeting} {text}"


class TicketWriter:
    """Writes tickets, either with the training file's patterns or with the test file's."""

    def __init__(self, rng: random.Random, *, held_out: bool) -> None:
        self.rng, self.held_out = rng, held_out
        self.decks: dict[str, Deck] = {}
        self.greetings: Sequence[str]
        self.closings: Sequence[str]
        self.trouble: Mapping[str, Sequence[str]]
        self.harmless: Sequence[str]
        self.questions: Sequence[str]
        if held_out:
            self.greetings, self.closings = p.TEST_GREETINGS, p.TEST_CLOSINGS
            self.trouble, self.harmless = p.TEST_PATTERNS, p.TEST_HARMLESS
            self.questions = p.TEST_QUESTIONS
        else:
            self.greetings, self.closings = p.GREETINGS, p.CLOSINGS
            self.trouble, self.harmless = p.PATTERNS, p.HARMLESS
            self.questions = p.QUESTIONS

    def _draw(self, name: str, items: Sequence[str]) -> str:
        return self.decks.setdefault(name, Deck(self.rng, items)).draw()

    def _phrase(self, name: str, seen: Sequence[str], unseen: Sequence[str]) -> str:
        """A third of the test file's phrases are new, the rest known from training."""
        if self.held_out and self.rng.random() < 0.35:
            return self._draw(f"{name} unseen", unseen)
        return self._draw(name, seen)

    def _slots(self) -> dict[str, str]:
        rng = self.rng
        person, signer = rng.sample(p.PEOPLE, 2)
        place, site = rng.sample(p.PLACES, 2)
        return {
            "place": place,
            "site": site,
            "dept": rng.choice(p.DEPTS),
            "person": person,
            "signer": signer,
            "month": rng.choice(p.MONTHS),
            "when": rng.choice(p.WHEN),
            "n": str(rng.randrange(6, 60)),
            "num": str(rng.randrange(200, 9000)),
            "floor": str(rng.randrange(2, 9)),
        }

    def _pattern(self, blocked: str) -> str:
        if blocked != "none":
            return self._draw(f"{blocked} pattern", self.trouble[blocked])
        if self.rng.random() < 0.4:
            return self._draw("harmless", self.harmless)
        return self._draw("question", self.questions)

    def write(self, queue: str, blocked: str) -> Ticket:
        rng = self.rng
        text = self._pattern(blocked)
        # Only what the pattern uses is drawn, or the decks would run unevenly.
        if "{fault}" in text:
            fault = self._phrase(f"{queue} fault", *p.phrases(FAULTS, queue))
            text = text.replace("{fault}", fault)
        is_wish = "{wish}" in text
        if is_wish:
            wish = self._phrase(f"{queue} wish", *p.phrases(WISHES, queue))
            text = text.replace("{wish}", wish)
        if "{impact}" in text:
            kind = "wish" if is_wish else blocked
            known, new = p.IMPACTS[kind], p.TEST_IMPACTS[kind]
            text = text.replace("{impact}", self._phrase(f"{kind} impact", known, new))
        if rng.random() < 0.35:
            text = after_greeting(rng.choice(self.greetings), text)
        # Who has named himself does not sign.
        if rng.random() < 0.25 and "{person} here" not in text:
            text = f"{text} {rng.choice(self.closings)}"
        many = blocked == "everyone" or (blocked == "none" and rng.random() < 0.4)
        text = re.sub(r"\{([^{}|]*)\|([^{}|]*)\}", r"\2" if many else r"\1", text)
        text = polish(text.format(**self._slots()))
        if rng.random() < 0.04:
            text = text.replace(*rng.choice(TYPOS))
        return Ticket(queue, blocked, text, is_wish)


def until(make: Callable[[], T], good: Callable[[T], bool]) -> T:
    """The first that is good; an error if the word lists cannot give one."""
    for _ in range(200):
        made = make()
        if good(made):
            return made
    raise RuntimeError("the word lists are too small: no new text in 200 tries")


def tickets(
    writer: TicketWriter, per_cell: int, taken: set[str], far_from: Sequence[str] = ()
) -> list[Ticket]:
    """The same number in each cell, in mixed order. None is in `taken`; their texts are added."""
    others = [words_of(text) for text in far_from]

    def good(ticket: Ticket) -> bool:
        if ticket.text in taken or not MIN_WORDS <= len(ticket.text.split()) <= MAX_WORDS:
            return False
        mine = words_of(ticket.text)
        return all(overlap(mine, other) < NEAR for other in others)

    rows = []
    for _ in range(per_cell):
        for queue in p.QUEUES:
            for blocked in p.BLOCKED:
                ticket = until(partial(writer.write, queue, blocked), good)
                taken.add(ticket.text)
                rows.append(ticket)
    writer.rng.shuffle(rows)
    return rows


def chosen_reply(rng: random.Random, ticket: Ticket) -> str:
    step = rng.choice((r.ANSWERS if ticket.is_wish else r.STEPS)[ticket.queue])
    text = f"{rng.choice(r.OPENERS)} {step}, {rng.choice(r.WHEN_NEXT[ticket.blocked])}"
    if rng.random() < 0.2:
        text = f"{text} {rng.choice(r.NOTES)}"
    return text


def rejected_reply(rng: random.Random, queue: str, habit: str) -> str:
    text = f"{rng.choice(r.BAD_START[habit])} {rng.choice(r.BAD_END[habit])}"
    if rng.random() < 0.4:
        text = f"{text} {rng.choice(r.BAD_MORE[habit])}"
    return text.format(matter=rng.choice(r.MATTER[queue]))


def make_pairs(rng: random.Random, rows: list[Ticket]) -> list[dict[str, Any]]:
    """One pair for each ticket. The four bad habits take turns."""
    habits = Deck(rng, tuple(r.BAD_START))
    pairs: list[dict[str, Any]] = []
    used: set[str] = set()

    def good(text: str) -> bool:
        return text not in used and REPLY_MIN <= len(text.split()) <= REPLY_MAX

    for ticket in rows:
        chosen = until(partial(chosen_reply, rng, ticket), good)
        rejected = until(partial(rejected_reply, rng, ticket.queue, habits.draw()), good)
        used.update((chosen, rejected))
        pairs.append(
            {
                "prompt": [{"role": "user", "content": ticket.text}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            }
        )
    return pairs


def chat(ticket: Ticket) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": ticket.text},
            {"role": "assistant", "content": answer(ticket.queue, ticket.blocked)},
        ]
    }


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def build() -> dict[str, str]:
    """File name -> text of the file."""
    # A generator of its own for each file: a change of one leaves the others' draws alone.
    taken: set[str] = set()
    train_writer = TicketWriter(random.Random(SEED), held_out=False)
    test_writer = TicketWriter(random.Random(SEED + 1), held_out=True)
    pair_rng = random.Random(SEED + 2)
    train = tickets(train_writer, TRAIN_PER_CELL, taken)
    train_texts = [ticket.text for ticket in train]
    test = tickets(test_writer, TEST_PER_CELL, taken, far_from=train_texts)
    asked = tickets(TicketWriter(pair_rng, held_out=False), PAIRS_PER_CELL, taken)
    return {
        "train.jsonl": lines([chat(ticket) for ticket in train]),
        "test.jsonl": lines([chat(ticket) for ticket in test]),
        "pairs.jsonl": lines(make_pairs(pair_rng, asked)),
    }


def differing(folder: Path, files: dict[str, str]) -> list[str]:
    """The names of the files in `folder` that are missing or not as made."""

    def same(name: str, text: str) -> bool:
        path = folder / name
        return path.is_file() and path.read_bytes() == text.encode("utf-8")

    return [name for name, text in files.items() if not same(name, text)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="appliance.data.demo.make", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the files differ")
    args = parser.parse_args(argv)
    files = build()
    if args.check:
        wrong = differing(HERE, files)
        if wrong:
            print(
                f"{', '.join(wrong)}: not as the generator makes it; run it without --check.",
                file=sys.stderr,
            )
        return 1 if wrong else 0
    for name, text in files.items():
        (HERE / name).write_bytes(text.encode("utf-8"))
        print(f"{name}: {len(text.splitlines())} rows", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
