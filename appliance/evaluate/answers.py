"""Is a generated answer right? Reading the number or the words that a free text gives.

Small models answer "7.", large ones derive first and conclude then, so the text is read from its
end: the prompts of the suites ask to end with the answer. No judge, and nothing but the text.

*Number.* Behind the last "the answer is", "answer:" or "####" the first number, else that of the
last sentence which has one: behind its last "=", else its last. The prompt's own numbers are passed
over where there are others ("she reads 30 pages in 3 days"), unless the right answer is among them.
Digits count before number words of the same sentence, "one" (mostly a pronoun) only where nothing
else is found. Numbers of steps, lists and places ("Step 2", "3.", "4th") are none.

*Words.* An accepted string must stand in the answer as whole words; case, accents and punctuation
do not matter. Where an answer could name all candidates, this is not enough:

- The answer is a weekday, a month or a point of the compass, or it stands in the prompt itself (a
  puzzle about Anna, Bruno and Clara: names have capitals there). Then one candidate is taken to be
  the answer's, and it has to be the right one: the last that is named behind "the answer is", else
  in the last sentence that names any; with neither what is only compared with ("than Bruno") nor
  reasons ("because …") behind it. A list of all of them is right by luck, once in as many. A day
  that the prompt gives ("today is Monday") is no candidate, unless it is the answer.
- An accepted string with commas is an order ("17, 30, 42"): the last sentence that names all parts
  must end in that order, or, where they stand in different lines, the whole answer.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from appliance.evaluate.suite import Item

_ANSWER = re.compile(r"\banswer(?:\s+is|\s+was|\s+will\s+be|\s*[:=])+|####", re.I)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|\w+")

_MARKDOWN = re.compile(r"[*_`]+")
_STEP = re.compile(r"^[ \t]*(?:step\s+\d+\s*[.:)]?|\d+[.)]\s)\s*(?=\S)", re.I | re.M)
# Sign, whole part (with thousands), decimals, denominator; "$" and units may stand around it.
_DIGITS = re.compile(
    r"(?<!\w)(?<!\d[./])(?P<sign>(?<![\w)])[-−])?(?:(?<![\w)])\$)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?P<part>\.\d+)?(?!\d|(?:st|nd|rd|th)\b)(?:/(?P<under>\d+))?"
)
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {
    **{word: value for value, word in enumerate(_SMALL.split())},
    **{word: 10 * value for value, word in enumerate(_TENS.split(), 2)},
}
_NUMBER_WORD = re.compile(rf"\b(?:(\w+ty)[- ])?({'|'.join(_VALUES)})\b(?![- ]hundred)", re.I)


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLASSES = (
    _set("monday tuesday wednesday thursday friday saturday sunday"),
    _set("january february march april may june july august september october november december"),
    _set("north east south west"),
)
# Words that begin a sentence of a prompt and are no names.
_OPENERS = _set(
    "a all an and answer at both each end five four give he how if in it name now of on one say "
    "she the their then there these they three today two what when where which who whose with write"
)
# What follows them is compared with the answer, or is a reason, and no answer itself.
_BEHIND = _set("after among as because before behind between followed from of since while whereas")
_JOINTS = _set("and both either or the")


def score(item: Item, answer: str) -> float | None:
    """1.0 right, 0.0 wrong; None where a number is asked for and the answer gives none (unparsed).

    `item` is of the kind "answer"; ValueError for another.
    """
    if item.number is not None:
        found = number(answer, frozenset(numbers(item.prompt)) - {item.number})
        return None if found is None else float(same(found, item.number))
    if not item.accept:
        raise ValueError(f"the item {item.id} is no question with a generated answer")
    return float(accepted(item.accept, item.prompt, answer))


def choice_score(losses: Sequence[float], sizes: Sequence[int]) -> int:
    """The place of the likeliest choice: the least loss (nats, summed) per byte of the choice.

    As `acc_norm` of lm-evaluation-harness, which divides by characters, and `acc_bytes`, which
    divides by bytes: a longer choice is not less likely for its length, and the measure does not
    depend on the tokenizer. `sizes` are the bytes of the choices; the first of equals is taken.
    """
    each = [loss / size for loss, size in zip(losses, sizes, strict=True)]
    return each.index(min(each))


def same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def number(answer: str, given: frozenset[float] = frozenset()) -> float | None:
    """The number that the answer gives (see above), or None. `given`: those of the prompt."""
    text = _STEP.sub("", _MARKDOWN.sub("", answer))
    marked = list(_ANSWER.finditer(text))
    behind = _SENTENCE.split(text[marked[-1].end() :]) if marked else []
    whole = _SENTENCE.split(text)[::-1]
    for sentences, place in ((behind, 0), (whole, -1)):
        offered = [found for sentence in sentences if (found := _offered(sentence))]
        for found in offered:
            if new := [value for value in found if value not in given]:
                return new[place]
        if offered:
            return offered[0][place]
    return 1.0 if re.search(r"\bone\b(?! hundred)", text, re.I) else None


def _offered(sentence: str) -> list[float]:
    """The numbers that may be the answer: behind the last "=" the first, digits before words."""
    _, equals, behind = sentence.rpartition("=")
    if equals and (found := _offered(behind)):
        return found[:1]
    return _digits(sentence) or _spelt(sentence)


def numbers(text: str) -> list[float]:
    """All numbers of the text, in digits or in words."""
    return _digits(text) + _spelt(text)


def _digits(text: str) -> list[float]:
    found = []
    for match in _DIGITS.finditer(text):
        value = float(match["whole"].replace(",", "") + (match["part"] or ""))
        under = float(match["under"] or 1)
        value = value / under if under else value
        found.append(-value if match["sign"] else value)
    return found


def _spelt(text: str) -> list[float]:
    return [
        float(sum(_VALUES.get(word.lower(), 0) for word in match.groups() if word))
        for match in _NUMBER_WORD.finditer(text)
        if match[0].lower() != "one"
    ]


def words(text: str) -> list[str]:
    """Lower-case words without accents and punctuation; 0.5, 1,000 and 10:35 stay whole."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return _TOKEN.findall(plain.casefold())


def accepted(accept: Sequence[str], prompt: str, answer: str) -> bool:
    """Does the answer give one of the accepted strings (see above)?"""
    text = _MARKDOWN.sub("", answer)
    orders = [[w for part in a.split(", ") for w in words(part)[-1:]] for a in accept if ", " in a]
    if any(_in_order(order, text) for order in orders):
        return True
    single = [a for a in accept if ", " not in a]
    candidates = _candidates(single, prompt)
    if candidates:
        return _given(text, candidates) in {words(a)[-1] for a in single if words(a)}
    said = words(text)
    return any(_stands_in(words(a), said) if words(a) else a in text for a in single)


def _stands_in(phrase: Sequence[str], said: Sequence[str]) -> bool:
    size = len(phrase)
    return any(list(said[i : i + size]) == list(phrase) for i in range(len(said) - size + 1))


def _in_order(parts: Sequence[str], answer: str) -> bool:
    """Do the parts stand in this order where the answer names all of them for the last time?"""
    for text in [*reversed(_SENTENCE.split(answer)), answer]:
        named = [word for word in words(text) if word in parts]
        if set(named) == set(parts):
            return named[-len(parts) :] == list(parts)
    return False


def _candidates(accept: Sequence[str], prompt: str) -> frozenset[str]:
    """The words of which an answer gives one, or none where it may stand anywhere."""
    right = {words(a)[-1] for a in accept if words(a)}
    asked = words(prompt)
    for group in _CLASSES:
        if right & group:
            return group - (set(asked) - right)
    if not any(a[:1].isupper() and _stands_in(words(a), asked) for a in accept):
        return frozenset()
    capitals = {words(word)[0] for word in re.findall(r"\b[A-Z]\w*", prompt)}
    return frozenset(capitals - _OPENERS | right)


def _given(answer: str, candidates: frozenset[str]) -> str:
    """The candidate that the answer gives, or ""."""
    marked = list(_ANSWER.finditer(answer))
    scopes = _SENTENCE.split(answer)[::-1]
    if marked:
        scopes = [*_SENTENCE.split(answer[marked[-1].end() :]), *scopes]
    return next((found for scope in scopes if (found := _last_named(scope, candidates))), "")


def _last_named(sentence: str, candidates: frozenset[str]) -> str:
    """The last candidate named, without what is compared with and without reasons behind it."""
    found, compared = "", False
    for word in words(sentence):
        if word in candidates:
            found = found if compared else word
        elif found and word in _BEHIND:
            return found
        elif word not in _JOINTS:
            compared = word in ("than", "not")
    return found
