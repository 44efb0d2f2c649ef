"""The forms in which people keep rows: recognized by the keys, said aloud, turned into examples."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.data import pairs
from appliance.data.files import Raw, kind
from appliance.data.rows import Message, Pair, Row
from appliance.data.turns import (
    Aside,
    Malformed,
    is_dialogue,
    need,
    text,
    turns,
    turns_or_text,
    with_system,
)
from appliance.errors import DataError

SFT = ("messages", "sharegpt", "alpaca", "prompt_completion", "columns")
PREFERENCE = ("preference", "dialogue_pairs")
SPOKEN = {
    "messages": "messages: role and content of each turn, the last assistant turn is the answer",
    "sharegpt": "sharegpt: conversations of from and value, the last gpt turn is the answer",
    "alpaca": "alpaca: instruction and input -> prompt, output -> answer",
    "prompt_completion": "prompt_completion: prompt -> prompt, completion -> answer",
    "preference": "preference: prompt, chosen over rejected",
    "dialogue_pairs": "dialogue_pairs: Human/Assistant dialogues, chosen over rejected, what they "
    "share -> prompt",
}
_KEYS = {
    "messages": {"messages", "system"},
    "sharegpt": {"conversations", "system"},
    "alpaca": {"instruction", "input", "output", "system"},
    "prompt_completion": {"prompt", "completion", "system"},
    "preference": {"prompt", "chosen", "rejected", "system"},
    "dialogue_pairs": {"prompt", "chosen", "rejected", "system"},
}
# Names under which the answer stands first in some tables (`label,text`), and what then follows.
_ANSWERS = {"answer", "category", "class", "completion", "intent", "label", "output", "response"}
_QUESTIONS = {"content", "input", "message", "prompt", "query", "question", "sentence", "text"}
_IDS = {"id", "guid", "idx", "index", "uuid"}


@dataclass(frozen=True, slots=True)
class ColumnNames:
    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Form:
    """A recognized form. `unused` are keys of the first row from which nothing is taken."""

    name: str
    columns: ColumnNames | None = None
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that is sound and not used, and why."""

    file: str
    line: int
    reason: str


def recognize(
    fields: Mapping[str, Any],
    *,
    preference: bool,
    columns: ColumnNames | None = None,
    name: str = "auto",
) -> Form:
    """The form of rows like this one; `name` other than auto settles it. Raises DataError."""
    if columns is not None:
        if preference or name not in ("auto", "columns"):
            raise DataError(
                "data.columns names a prompt and a completion, which "
                + ("preference pairs do not have." if preference else f"{name} does not use."),
                "Leave data.columns out.",
            )
        return _form("columns", fields, _there(columns, fields))
    if name != "auto":
        return _named(name, fields, preference)
    found = _pairs(fields) if preference else _sft(fields)
    if found:
        return found
    other = _sft(fields) if preference else _pairs(fields)
    if other:
        held, wanted, recipe = (
            ("plain answers", "preference pairs", "sft")
            if preference
            else ("preference pairs", "plain answers", "dpo")
        )
        raise DataError(
            f"The data holds {held} ({other.name}) where this recipe needs {wanted}.",
            f"Use the recipe `{recipe}`, or give other data.",
        )
    raise _unknown(fields, preference)


def _named(name: str, fields: Mapping[str, Any], preference: bool) -> Form:
    mine, others, recipe = (PREFERENCE, SFT, "sft") if preference else (SFT, PREFERENCE, "dpo")
    if name in others:
        raise DataError(f"data.form={name} is for another recipe.", f"Use the recipe `{recipe}`.")
    if name not in mine:
        near = difflib.get_close_matches(name, mine, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DataError(f"data.form={name} is not known.", f"Known: {', '.join(mine)}.{hint}")
    if name == "columns":
        two = _two_columns(fields)
        if two is None:
            raise _unknown(fields, preference)
        return _form(name, fields, two)
    return _form(name, fields)


def _form(name: str, fields: Mapping[str, Any], columns: ColumnNames | None = None) -> Form:
    used = {columns.prompt, columns.completion, "system"} if columns else _KEYS[name]
    # `source` and `line` are ours: the rows of a run may be given as data again.
    unused = tuple(key for key in fields if key not in used and key not in ("source", "line"))
    return Form(name, columns, unused)


def _there(columns: ColumnNames, fields: Mapping[str, Any]) -> ColumnNames:
    for key, wanted in (("prompt", columns.prompt), ("completion", columns.completion)):
        if wanted not in fields:
            near = difflib.get_close_matches(wanted, [str(name) for name in fields], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise DataError(
                f"The data has no column {wanted!r}, which data.columns.{key} names.",
                f"Its columns: {_list(fields)}.{hint}",
            )
    return columns


def _sft(fields: Mapping[str, Any]) -> Form | None:
    keys = fields.keys()
    if isinstance(fields.get("messages"), (list, tuple)):
        return _form("messages", fields)
    if isinstance(fields.get("conversations"), (list, tuple)):
        return _form("sharegpt", fields)
    if {"instruction", "output"} <= keys:
        return _form("alpaca", fields)
    if {"prompt", "completion"} <= keys:
        return _form("prompt_completion", fields)
    if {"chosen", "rejected"} <= keys:
        return None
    two = _two_columns(fields)
    return _form("columns", fields, two) if two else None


def _pairs(fields: Mapping[str, Any]) -> Form | None:
    if not {"chosen", "rejected"} <= fields.keys():
        return None
    if is_dialogue(fields.get("prompt") or fields["chosen"]):
        return _form("dialogue_pairs", fields)
    if isinstance(fields["chosen"], str) and not fields.get("prompt"):
        return None
    return _form("preference", fields)


def _two_columns(fields: Mapping[str, Any]) -> ColumnNames | None:
    """Exactly two columns of text: the first is the prompt, unless their names say otherwise."""
    texts = [
        key
        for key, value in fields.items()
        if isinstance(value, str) and key and key.lower() not in _IDS
    ]
    if len(texts) != 2:
        return None
    first, second = texts
    if first.lower() in _ANSWERS and second.lower() not in _ANSWERS:
        if second.lower() not in _QUESTIONS:
            return None
        return ColumnNames(second, first)
    return ColumnNames(first, second)


def _unknown(fields: Mapping[str, Any], preference: bool) -> DataError:
    known = ", ".join(PREFERENCE if preference else SFT)
    do = f"Known forms: {known}. Say which it is with --set data.form=FORM"
    if not preference:
        do += (
            ", or name the columns with --set data.columns.prompt=NAME "
            "--set data.columns.completion=NAME"
        )
    else:
        do += "; a row needs prompt, chosen and rejected"
    return DataError(f"The form of rows with the keys {_list(fields)} is not known.", f"{do}.")


def _list(fields: Mapping[str, Any]) -> str:
    names = ", ".join(str(key) for key in list(fields)[:12])
    return (names or "(none)") + (", ..." if len(fields) > 12 else "")


def describe(form: Form) -> str:
    """One line that says what is taken for what."""
    if form.columns:
        return f"columns: {form.columns.prompt} -> prompt, {form.columns.completion} -> completion"
    return SPOKEN[form.name]


def convert(raw: Raw, form: Form, system: str | None = None) -> Row | Pair | SetAside:
    """The example in this row. Raises DataError naming file and line when it is malformed."""
    fields = raw.fields
    try:
        if form.name in PREFERENCE:
            make = pairs.preference if form.name == "preference" else pairs.dialogue_pair
            prompt, chosen, rejected = make(fields)
            prompt = with_system(prompt, fields.get("system"), system)
            return Pair(tuple(prompt), tuple(chosen), tuple(rejected), raw.file, raw.line)
        messages = _columns(fields, form) if form.columns else _MAKERS[form.name](fields)
        messages = with_system(_answered(messages), fields.get("system"), system)
        return Row(tuple(messages), raw.file, raw.line)
    except Aside as error:
        return SetAside(raw.file, raw.line, str(error))
    except Malformed as error:
        raise DataError(
            f"{raw.file}:{raw.line} {error}.",
            f"Mend or remove that row, if `{form.name}` is the form (else set data.form).",
        ) from error


def _answered(messages: list[Message]) -> list[Message]:
    roles = [message["role"] for message in messages]
    if "assistant" not in roles:
        raise Malformed("has no assistant turn, so nothing can be learned from it")
    if roles[-1] != "assistant":
        raise Aside("the conversation ends with a user turn")
    if "user" not in roles:
        raise Malformed("has no user turn before the answer")
    return messages


def _columns(fields: Mapping[str, Any], form: Form) -> list[Message]:
    assert form.columns is not None
    names = (("user", form.columns.prompt), ("assistant", form.columns.completion))
    return [Message(role=role, content=_cell(need(fields, key), key)) for role, key in names]


def _cell(value: Any, key: str) -> str:
    """Text; numbers too, because a label is often one."""
    # Tables write what is missing as null or as NaN, the one value that is not itself.
    if value is None or value != value:
        raise Malformed(f"has an empty `{key}`")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str):
        raise Malformed(f"has a `{key}` that is {kind(value)}, not text")
    return text(value, key)


def _alpaca(fields: Mapping[str, Any]) -> list[Message]:
    prompt = text(need(fields, "instruction"), "instruction")
    more = fields.get("input")
    if more is not None and not (isinstance(more, str) and not more.strip()):
        prompt = f"{prompt}\n\n{text(more, 'input')}"
    answer = text(need(fields, "output"), "output")
    return [Message(role="user", content=prompt), Message(role="assistant", content=answer)]


def _prompt_completion(fields: Mapping[str, Any]) -> list[Message]:
    prompt = turns_or_text(need(fields, "prompt"), "prompt", "user")
    answer = turns_or_text(need(fields, "completion"), "completion", "assistant")
    if any(message["role"] != "assistant" for message in answer):
        raise Malformed("has a `completion` with turns that are not the assistant's")
    return prompt + answer


_MAKERS: dict[str, Callable[[Mapping[str, Any]], list[Message]]] = {
    "messages": lambda fields: turns(need(fields, "messages"), "messages"),
    "sharegpt": lambda fields: turns(need(fields, "conversations"), "conversations"),
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
}
