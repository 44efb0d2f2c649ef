"""A plain template for a base model that brings none: turns as people write them down.

Such a model goes on with a text, so it is asked in a form that it has read often, and what it
writes is cut where it would go on with the next turn. Training teaches it the end of turn.
"""

from __future__ import annotations

TEMPLATE = (
    "{% if bos_token is defined and bos_token is not none %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n' }}"
    "{% else %}{{ 'Assistant: ' + message['content'] + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
TURNS = ("\nUser:", "\nAssistant:")
FILE = "chat_template.jinja"  # where transformers looks for one


def cut_at_turn(text: str, turns: tuple[str, ...]) -> tuple[str, bool]:
    """(the text up to the first turn that it goes on with, was there one?)."""
    ends = [place for turn in turns if (place := text.find(turn)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)
