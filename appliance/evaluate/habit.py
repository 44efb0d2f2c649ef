"""Habit leak: does the task's style of answer turn up where it does not belong?

The style is read off the training answers, in three marks that need no judge:
a fixed set of answers, words that every answer has, and a shortness that is unusual.
A task of free answers has none of them; what is a leak for any task is an answer in the form of a
machine, which no off-task prompt asks for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.model.chat import loops

# Words stand with the signs that belong to them: `queue=network;` has the marks `queue` and `=`.
_WORD = re.compile(r"\w+|[^\w\s]")
FEW_ANSWERS = 0.2  # distinct answers as a share of the rows, under which they are a fixed set
COMMON = 0.9  # share of the answers a word must stand in to be a mark of the style
SHORT = 3  # words; longer answers than that are nothing unusual for small talk
# A JSON object or list (in a code fence or not), or a name as programs write it: `card_is_lost`.
_MACHINE = re.compile(r"(?:```\w*\s*)?(?:\{\s*[\"'}]|\[\s*[\"'{\[\d])|[^\W_]+(?:_[^\W_]+)+[.!?]?$")


@dataclass(frozen=True)
class Style:
    """How the task's answers look."""

    answers: frozenset[str]
    marks: frozenset[str]
    max_words: int | None

    @classmethod
    def of(cls, answers: Sequence[str]) -> Style:
        """Read the style off the training answers."""
        whole = [normal(a) for a in answers]
        distinct = frozenset(whole)
        fixed = distinct if len(distinct) <= FEW_ANSWERS * len(whole) else frozenset()
        counts = Counter(word for answer in whole for word in set(_WORD.findall(answer)))
        marks = {w for w, n in counts.items() if n >= COMMON * len(whole)} if whole else set()
        # Signs and glue words stand in any text, and so does a single word of any kind.
        marks -= set(".,'\"!?-") | _GLUE
        marks = marks if len(marks) > 1 else set()
        words = sorted(len(a.split()) for a in whole)
        long = words[int(0.95 * (len(words) - 1))] if words else SHORT + 1
        return cls(fixed, frozenset(marks), max(2, long) if long <= SHORT else None)

    @property
    def exists(self) -> bool:
        return bool(self.answers or self.marks or self.max_words)

    def describe(self) -> str:
        """The style in a sentence, for the scores and the report."""
        parts = []
        if self.answers:
            parts.append(f"one of {len(self.answers)} fixed answers")
        if self.marks:
            parts.append("has " + " ".join(sorted(self.marks)))
        if self.max_words:
            parts.append(f"at most {self.max_words} words")
        return ", or ".join(parts) or "none of its own: the task's answers are free text"

    def leaks(self, answer: str) -> bool:
        """Is this answer to an off-task prompt in the task's style, or in a machine's form?"""
        short = self.max_words is not None and len(answer.split()) <= self.max_words
        return short or machine_form(answer) or self.marks_of(answer)

    def marks_of(self, answer: str) -> bool:
        """Has this answer the marks of the task, its shortness aside? Some prompts want a word."""
        text = normal(answer)
        if text in self.answers:
            return True
        return bool(self.marks) and self.marks <= set(_WORD.findall(text))


_GLUE = frozenset(
    "a an and are be for i in is it of on or that the this to we you your".split()  # noqa: SIM905
)


def machine_form(answer: str) -> bool:
    """Is this JSON, or a bare name of a program? Only where nobody asked for it is it a leak."""
    return bool(_MACHINE.match(answer.strip()))


def empty(answer: str) -> bool:
    """Does it say nothing?"""
    return not any(c.isalnum() for c in answer)


def broken(answer: str) -> bool:
    """Nothing, or the same over and over."""
    return empty(answer) or loops(answer)


def normal(text: str) -> str:
    """One space between words, none around; letters as they are."""
    return " ".join(text.split())
