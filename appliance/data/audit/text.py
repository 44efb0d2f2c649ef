"""Texts as the audit compares them: words, nearness, and when two answers say the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from appliance.data.rows import Example, Pair, Row

# Scripts without blanks between words are compared sign by sign.
_SIGNS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
_ASCII = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_BRIEF = 8  # words up to which any difference between two answers counts


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    if text.isascii():
        return _ASCII.findall(text.lower())
    return _SIGNS.findall(unicodedata.normalize("NFKC", text).casefold())


def asked(row: Example) -> str:
    """What is asked, turn by turn, without the system message."""
    return "\n".join(m["content"] for m in row.prompt if m["role"] != "system")


def system(row: Example) -> str:
    return "\n".join(m["content"] for m in row.prompt if m["role"] == "system")


def answer(row: Example) -> str:
    """The answer that is learned; of a pair the chosen one."""
    return row.answer if isinstance(row, Row) else said(row, "chosen")


def said(pair: Pair, which: str) -> str:
    return "\n".join(m["content"] for m in getattr(pair, which))


def near(a: Collection[str], b: Collection[str], least: float) -> bool:
    """Whether two texts share `least` of their words (Jaccard), or nearly all of their letters.

    The second is for short texts, where one changed ending is already much of the words; a
    changed number is no ending.
    """
    one, two = set(a), set(b)
    both = len(one & two)
    if both >= least * (len(one) + len(two) - both):
        return both > 0
    if numbers(a) != numbers(b):
        return False
    from rapidfuzz.distance import Indel

    first, second = " ".join(sorted(a)), " ".join(sorted(b))
    cutoff = (1 + least) / 2
    return Indel.normalized_similarity(first, second, score_cutoff=cutoff) >= cutoff


def same_answer(a: str, b: str, least: float) -> bool:
    """Whether two answers say the same: short ones word for word, long ones nearly."""
    if a == b:
        return True
    one, two = words(a), words(b)
    if one == two:
        # Signs are all there is in answers such as `+` and `-`.
        return bool(one) or a.split() == b.split()
    if min(len(one), len(two)) <= _BRIEF or numbers(one) != numbers(two):
        return False
    return near(one, two, least)


def numbers(found: Collection[str]) -> list[str]:
    return sorted(word for word in found if any(sign.isdigit() for sign in word))


def clip(text: str, most: int = 160) -> str:
    """One line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
