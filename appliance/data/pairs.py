"""Preference rows: from what people write to (prompt, chosen, rejected)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.data.rows import Message
from appliance.data.turns import Aside, Malformed, dialogue, need, turns_or_text

Parts = tuple[list[Message], list[Message], list[Message]]


def preference(fields: Mapping[str, Any]) -> Parts:
    """prompt, chosen, rejected as text or messages; the prompt may stand inside the answers."""
    chosen = turns_or_text(need(fields, "chosen"), "chosen", "assistant")
    rejected = turns_or_text(need(fields, "rejected"), "rejected", "assistant")
    given = fields.get("prompt")
    prompt = [] if given in (None, "", []) else turns_or_text(given, "prompt", "user")
    if chosen[0]["role"] != "assistant" or rejected[0]["role"] != "assistant":
        inside, chosen, rejected = divide(chosen, rejected)
        if prompt and prompt[-1]["content"].strip() != inside[-1]["content"].strip():
            raise Malformed("has a `prompt` with which `chosen` and `rejected` do not begin")
        if prompt and prompt[0]["role"] == "system" and inside[0]["role"] != "system":
            inside.insert(0, prompt[0])
        prompt = inside
    for key, answer in (("chosen", chosen), ("rejected", rejected)):
        if any(message["role"] != "assistant" for message in answer):
            raise Aside(f"`{key}` holds more than the assistant's answer")
    if not any(message["role"] == "user" for message in prompt):
        raise Malformed("has no prompt")
    if prompt[-1]["role"] != "user":
        raise Aside("the prompt does not end with a user turn")
    if chosen == rejected:
        raise Aside("chosen and rejected are the same")
    return prompt, chosen, rejected


def dialogue_pair(fields: Mapping[str, Any]) -> Parts:
    """chosen and rejected are whole dialogues, or go on where a `prompt` of that form stops."""
    before = fields.get("prompt")
    both = []
    for key in ("chosen", "rejected"):
        value = need(fields, key)
        if isinstance(before, str) and isinstance(value, str):
            value = value if value.startswith(before) else before + value
        both.append(dialogue(value, key))
    for key, said in zip(("chosen", "rejected"), both, strict=True):
        if said[-1]["role"] == "assistant" and not said[-1]["content"]:
            raise Aside(f"`{key}` ends with an empty assistant turn")
        if not all(message["content"] for message in said):
            raise Aside(f"`{key}` holds an empty turn")
    prompt, chosen, rejected = divide(*both)
    return _joined(prompt), chosen, rejected


def divide(chosen: list[Message], rejected: list[Message]) -> Parts:
    """Common beginning, and the one assistant turn in which each of the two goes on."""
    if chosen == rejected:
        raise Aside("chosen and rejected are the same")
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    prompt, rests = chosen[:same], (chosen[same:], rejected[same:])
    if any(len(rest) != 1 for rest in rests):
        raise Aside("chosen and rejected differ before the last turn")
    if any(rest[0]["role"] != "assistant" for rest in rests):
        raise Aside("chosen or rejected does not end with an assistant turn")
    if not prompt or prompt[-1]["role"] != "user":
        raise Aside("the last answer does not follow a user turn")
    return prompt, *rests


def _joined(messages: list[Message]) -> list[Message]:
    """Two turns of one speaker in a row become one: many chat templates refuse them."""
    made: list[Message] = []
    for message in messages:
        if made and made[-1]["role"] == message["role"]:
            both = f"{made[-1]['content']}\n\n{message['content']}"
            made[-1] = Message(role=message["role"], content=both)
        else:
            made.append(message)
    return made
