"""Constraints on an answer that a program can check: how `checks` of a suite's items are scored.

The idea of instructions whose keeping needs no judge is IFEval's (Zhou et al. 2023, arXiv
2311.07911); the kinds here are our own, and judge by what the prompt says to the letter:

    {"kind": "words", "most": 12}                    a size: exactly, or least and most
    {"kind": "contains", "text": "tea", "least": 2}  whole words, in any case

An empty answer keeps to nothing, or saying nothing would keep to every ban.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Mapping[str, Any]

SIZE = ("exactly", "least", "most")
_MARKER = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+", re.M)  # of a list's line
_BULLET = re.compile(r"^[ \t]*[-*•][ \t]+\S", re.M)
_NUMBER = re.compile(r"^[ \t]*(\d+)[.)][ \t]+\S", re.M)
_FENCE = re.compile(r"```[^\n`]*\n(.+?)(?:```|\Z)", re.S)  # an answer that was cut ends it too
_TITLE = re.compile(r"<<[^<>\n]*\w[^<>\n]*>>")
_PLACE = re.compile(r"\[[^\[\]\n]*\w[^\[\]\n]*\](?!\()")  # a link's text is none
_STOP = re.compile(r"[.!?…]+[\"'”’)\]*]*(?=\s|$)")  # 3.5 has none
# What stands before a stop that ends no sentence: a title, an initial (but "so do I.").
_SHORT = re.compile(r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e)|\b(?-i:[A-HJ-Z]))$", re.I)
_QUOTES = "\"'“”‘’"
_DRESS = _QUOTES + "*_#` "  # quotes and Markdown around the first and last words


@dataclass(frozen=True)
class Kind:
    """A kind of check: its test, and the parameters that it needs or may have."""

    holds: Callable[[str, Check], bool]
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


def holds(check: Check, answer: str) -> bool:
    """Does the answer keep to this check? Only for a check without a fault."""
    return bool(answer.strip()) and KINDS[check["kind"]].holds(answer.strip(), check)


def wants_machine_form(checks: Iterable[Check]) -> bool:
    """Does an item ask for JSON or code? Then such an answer is no fault there."""
    return any(check["kind"] in ("json", "code") for check in checks)


def fault(check: Any) -> str:
    """What is wrong with a check as it stands in a suite's file, or ""."""
    if not isinstance(check, Mapping):
        return "a check is no object"
    name = check.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        return f"there is no check of the kind {name!r}{_near(str(name), KINDS)}"
    kind = KINDS[name]
    given = set(check) - {"kind"}
    for key in kind.needs:
        if key not in given:
            return f"a check of the kind {name} needs {key}"
    unknown = given - {*kind.needs, *kind.may}
    if unknown:
        known = [*kind.needs, *kind.may]
        wrong = min(unknown, key=str)
        return f"a check of the kind {name} has no {wrong!r}{_near(str(wrong), known)}"
    for key in sorted(given):
        right, what = _PARAMETERS[key]
        if not right(check[key]):
            return f"{key} of a check of the kind {name} is not {what}"
    return _unfit(name, kind, check)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", the nearest is {near[0]}" if near else f", only {', '.join(sorted(known)) or 'kind'}"


def _unfit(name: str, kind: Kind, check: Check) -> str:
    """What is wrong with parameters that are right each by itself, or ""."""
    sizes = [key for key in SIZE if key in check]
    if kind.may and not kind.needs and not sizes:
        return f"a check of the kind {name} needs one of {', '.join(SIZE)}"
    if "exactly" in sizes and len(sizes) > 1:
        return f"exactly of a check of the kind {name} leaves nothing to {sizes[1]}"
    if len(sizes) == 2 and check["least"] > check["most"]:
        return f"least of a check of the kind {name} is more than its most"
    if name == "one_of" and not all(map(_plain, check["choices"])):
        return "choices of a check of the kind one_of have one without a word"
    return ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.isalpha()


def _is_letter(value: Any) -> bool:
    return _is_word(value) and len(value) == 1


_PARAMETERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(SIZE, (_is_count, "a whole number from 1")),
    "text": (_is_text, "a text"),
    **dict.fromkeys(("texts", "keys", "choices"), (_are_texts, "a list of texts")),
    "word": (_is_word, "a word"),
    "letter": (_is_letter, "a letter"),
}


# What answers are made of.


def words(text: str) -> list[str]:
    """Words; one with a hyphen is one, and a list's marks are none."""
    return [w for w in _MARKER.sub("", text).split() if any(c.isalnum() for c in w)]


def sentences(text: str) -> list[str]:
    """Sentences. A paragraph ends one, and so does a line of a list."""
    found = []
    for block in re.split(r"\n\s*\n|\n(?=[ \t]*(?:[-*•]|\d+[.)])[ \t])", text):
        rest = _MARKER.sub("", block, count=1)
        start = 0
        for stop in _STOP.finditer(rest):
            before = rest[start : stop.start()]
            if stop[0][0] == "." and _SHORT.search(before):
                continue
            found.append(before + stop[0])
            start = stop.end()
        found.append(rest[start:])
    return [s.strip() for s in found if any(c.isalnum() for c in s)]


def lines(text: str) -> list[str]:
    """Lines that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def _plain(text: str) -> str:
    """In lower case, words only."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _flat(text: str) -> str:
    """In lower case, one space between words."""
    return " ".join(text.lower().split())


def _times(text: str, wanted: str) -> int:
    """How often something stands in a text: as whole words where it begins or ends with one."""
    wanted = _flat(wanted)
    left = r"(?<!\w)" if wanted[0].isalnum() else ""
    right = r"(?!\w)" if wanted[-1].isalnum() else ""
    return len(re.findall(left + re.escape(wanted) + right, _flat(text)))


def _fits(count: int, check: Check) -> bool:
    """Is it the size asked for? At least one, always: 'at most 3 points' asks for some."""
    if "exactly" in check:
        return bool(count == check["exactly"])
    return bool(check.get("least", 1) <= count <= check.get("most", count))


# The kinds.


def _sized(parts: Callable[[str], list[Any]]) -> Callable[[str, Check], bool]:
    return lambda answer, check: _fits(len(parts(answer)), check)


def _numbered(answer: str, check: Check) -> bool:
    numbers = [int(n) for n in _NUMBER.findall(answer)]
    return numbers == list(range(1, len(numbers) + 1)) and _fits(len(numbers), check)


def _starts(answer: str, check: Check) -> bool:
    said, wanted = _flat(answer), _flat(check["text"])
    beginnings = (said, said.lstrip(_DRESS))
    return any(_times(s[: len(wanted) + 1], wanted) and s.startswith(wanted) for s in beginnings)


def _ends(answer: str, check: Check) -> bool:
    """A closing sign that was not asked for does not matter."""
    said, wanted = _flat(answer), _flat(check["text"])
    endings = (said, said.rstrip(_DRESS), said.rstrip(_DRESS + ".!"))
    return any(_times(s[-len(wanted) - 1 :], wanted) and s.endswith(wanted) for s in endings)


def _json(answer: str, check: Check) -> bool:
    """One object with these keys and no others, alone or in the first code fence."""
    fenced = _FENCE.search(answer)
    try:
        found = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and set(found) == set(check["keys"])


def _quoted(answer: str, check: Check) -> bool:
    inside = answer[1:-1]
    around = len(answer) > 2 and answer[0] in '"“' and answer[-1] in '"”'
    return around and not set(inside) & set('"“”')


def _repeats(answer: str, check: Check) -> bool:
    """The text first, word for word, and then something more."""
    said, wanted = _plain(answer), _plain(check["text"])
    return said.startswith(wanted + " ")


def _initials(answer: str, check: Check) -> bool:
    firsts = [next((c for c in line if c.isalnum()), "") for line in lines(answer)]
    return "".join(firsts).lower() == check["word"].lower()


# In `fault` a kind whose only parameters are sizes needs one of them.
KINDS: dict[str, Kind] = {
    "bullets": Kind(_sized(_BULLET.findall), may=SIZE),
    "code": Kind(lambda a, c: any(text.strip() for text in _FENCE.findall(a))),
    "contains": Kind(lambda a, c: _fits(_times(a, c["text"]), c), ("text",), SIZE),
    "ends": Kind(_ends, ("text",)),
    "excludes": Kind(lambda a, c: not any(_times(a, text) for text in c["texts"]), ("texts",)),
    "initials": Kind(_initials, ("word",)),
    "json": Kind(_json, ("keys",)),
    "letter_absent": Kind(lambda a, c: c["letter"].lower() not in a.lower(), ("letter",)),
    "lines": Kind(_sized(lines), may=SIZE),
    "lowercase": Kind(lambda a, c: a == a.lower() and a != a.upper()),
    "no_commas": Kind(lambda answer, check: "," not in answer),
    "numbered": Kind(_numbered, may=SIZE),
    "one_of": Kind(lambda a, c: _plain(a) in map(_plain, c["choices"]), ("choices",)),
    "paragraphs": Kind(_sized(lambda answer: re.split(r"\n\s*\n", answer)), may=SIZE),
    "placeholders": Kind(_sized(_PLACE.findall), may=SIZE),
    "quoted": Kind(_quoted),
    "repeats": Kind(_repeats, ("text",)),
    "sentences": Kind(_sized(sentences), may=SIZE),
    "starts": Kind(_starts, ("text",)),
    "title": Kind(lambda answer, check: bool(_TITLE.match(answer.lstrip(_DRESS)))),
    "uppercase": Kind(lambda a, c: a == a.upper() and a != a.lower()),
    "words": Kind(_sized(words), may=SIZE),
}
