"""Ways of asking a row without training: the set of answers named, examples shown, rows found.

Each rewrites a row's prompt; nothing here knows a model but `Count`, which counts tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from appliance.data.audit.text import asked
from appliance.data.rows import Message, Row

Prompt = list[Message]
Count = Callable[[Sequence[Message]], int]  # tokens of a prompt under the model's template
Put = Callable[[Row, Sequence[Row]], Prompt]

_NAME = "Answer with exactly one of the following answers, and with nothing else:"
_CASES = "Similar requests and their right answers:"
_USE = "Use them to answer this request in the same way, with the answer alone:"


def with_labels(row: Row, labels: Sequence[str], in_system: bool = True) -> Prompt:
    """The row's prompt with its possible answers named, in the system turn or before the user's."""
    told = "\n".join([_NAME, *(f"- {label}" for label in labels)])
    if not in_system:
        return _before_last(row, told)
    system, rest = _parts(row)
    return [Message(role="system", content="\n\n".join(filter(None, [system, told]))), *rest]


def with_shots(row: Row, shots: Sequence[Row]) -> Prompt:
    """The row's prompt after `shots` (the nearest first) as turns of the same chat.

    The nearest comes last: models lean on what they read last (Zhao et al. 2021, arXiv
    2102.09690), and near examples help more than drawn ones (Liu et al. 2022, arXiv 2101.06804).
    The shots' own system prompts are left out.
    """
    system, rest = _parts(row)
    turns = [m for shot in reversed(shots) for m in shot.messages if m["role"] != "system"]
    head = [Message(role="system", content=system)] if system else []
    return [*head, *turns, *rest]


def with_context(row: Row, found: Sequence[Row]) -> Prompt:
    """The row's prompt with `found` (the nearest first) written into the user's turn.

    What is asked stands at the end, under the context (Anthropic, "Long context prompting tips").
    """
    cases = [f"Request: {asked(r)}\nAnswer: {r.answer}" for r in reversed(found)]
    return _before_last(row, "\n\n".join([_CASES, *cases, _USE]), "Request: ")


def fitting(
    row: Row, found: Sequence[Row], put: Put, count: Count, room: int
) -> tuple[Prompt, int]:
    """The prompt with as many of `found` as fit in `room` tokens, and how many; far ones go first.

    Where not one fits the row is asked as it stands.
    """
    for most in range(len(found), 0, -1):
        made = put(row, found[:most])
        if count(made) <= room:
            return made, most
    return list(row.prompt), 0


def _parts(row: Row) -> tuple[str, Prompt]:
    """(the system prompt or "", the other turns of the prompt)."""
    system = "\n\n".join(m["content"] for m in row.prompt if m["role"] == "system")
    return system, [m for m in row.prompt if m["role"] != "system"]


def _before_last(row: Row, text: str, opening: str = "") -> Prompt:
    *before, last = row.prompt
    content = f"{text}\n\n{opening}{last['content']}"
    return [*before, Message(role=last["role"], content=content)]
