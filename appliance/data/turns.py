"""Messages out of the ways people write a conversation, and what can be wrong with one.

These functions do not know file or line: `forms.convert` adds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from appliance.data.files import kind
from appliance.data.rows import Message

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
_MARK = re.compile(r"(?:^|\n\n)(Human|Assistant):")


class Malformed(Exception):
    """The row is broken: the user mends it. The text goes on after `file:line `."""


class Aside(Exception):
    """The row is sound but of no use for this: it is counted, with this reason."""


def need(fields: Mapping[str, Any], key: str) -> Any:
    if key not in fields:
        raise Malformed(f"has no `{key}`")
    return fields[key]


def text(value: Any, key: str) -> str:
    """Text that says something, without the white space round it.

    Indentation at its start stays (an answer may be code), but one lone blank goes: completions
    made for plain language models begin with it.
    """
    if not isinstance(value, str):
        raise Malformed(f"has a `{key}` that is {kind(value)}, not text")
    if not value.strip():
        raise Malformed(f"has an empty `{key}`")
    kept = value.lstrip("\r\n").rstrip()
    return kept[1:] if kept.startswith(" ") and not kept.startswith("  ") else kept


def turns(value: Any, key: str) -> list[Message]:
    """A list of {"role", "content"} or {"from", "value"}; an empty system turn is left out."""
    if not isinstance(value, (list, tuple)):
        raise Malformed(f"has a `{key}` that is {kind(value)}, not a list of messages")
    made = []
    for number, item in enumerate(value, 1):
        where = f"`{key}` turn {number}"
        if not isinstance(item, Mapping):
            raise Malformed(f"has a {where} that is {kind(item)}, not an object")
        role, content = (
            item[first] if item.get(first) is not None else item.get(second)
            for first, second in (("role", "from"), ("content", "value"))
        )
        if not isinstance(role, str) or role.lower() not in ROLES:
            raise Malformed(f"has a {where} with the role {role!r:.40}; known: {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise Malformed(f"has a {where} whose content is {kind(content)}, not text")
        role = ROLES[role.lower()]
        if role == "system" and number > 1:
            raise Malformed(f"has a system message as {where}; only the first turn may be one")
        if content.strip():
            made.append(Message(role=role, content=content))
        elif role != "system":
            raise Malformed(f"has an empty {where} ({role})")
    if not made:
        raise Malformed(f"has no messages in `{key}`")
    return made


def turns_or_text(value: Any, key: str, role: str) -> list[Message]:
    if isinstance(value, (list, tuple)):
        return turns(value, key)
    return [Message(role=role, content=text(value, key))]


def is_dialogue(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("Human:", "Assistant:"))


def dialogue(value: Any, key: str) -> list[Message]:
    """Turns of one string in the form `\\n\\nHuman: ...\\n\\nAssistant: ...`; some may be empty."""
    if not isinstance(value, str):
        raise Malformed(f"has a `{key}` that is {kind(value)}, not a dialogue")
    head, *parts = _MARK.split(value)
    if head.strip() or not parts:
        raise Malformed(f"has a `{key}` that does not begin with `Human:`")
    return [
        Message(role="user" if mark == "Human" else "assistant", content=said.strip())
        for mark, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def with_system(messages: list[Message], own: Any, common: str | None) -> list[Message]:
    """The row's own system message stays; else its `system` field, else the recipe's."""
    if messages and messages[0]["role"] == "system":
        return messages
    prompt = own if isinstance(own, str) and own.strip() else common
    return [Message(role="system", content=prompt), *messages] if prompt else messages
