"""Tokens of a row under the model's own template, from its tokenizer files alone.

No weights and no transformers: an audit says in seconds what training would cut. The template is
rendered as transformers renders it and cut into tokens by `chat.encode`, as in training. A folder
without tokenizer.json, or a template that needs more, goes through transformers itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.errors import ModelError
from appliance.model import plain
from appliance.model.chat import IGNORE, encode
from appliance.model.load import resolve
from appliance.sections.source import ModelSection

if TYPE_CHECKING:
    from appliance.data.audit.lengths import Template

_LONGEST = 1 << 30


class Light:
    """As much of a transformers tokenizer as `chat.encode` uses."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        names = ("bos_token", "eos_token", "unk_token", "pad_token")
        self._tokens = {name: _text(config.get(name)) for name in names}
        self.eos_token = self._tokens["eos_token"]
        path = folder / "chat_template.jinja"
        source = path.read_text(encoding="utf-8") if path.is_file() else _template(config)
        source = source or plain.TEMPLATE
        self._template = _environment().from_string(source)
        added = self._tokenizer.get_added_tokens_decoder().values()
        marks = {t.content for t in added if t.special and t.content in source}
        marks |= {token for name, token in self._tokens.items() if token and name != "unk_token"}
        self.special = tuple(sorted(marks))

    def apply_chat_template(
        self, messages: Sequence[Any], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        known = {name: token for name, token in self._tokens.items() if token is not None}
        return str(
            self._template.render(
                messages=messages, tools=None, documents=None,
                add_generation_prompt=add_generation_prompt, **known,
            )
        )  # fmt: skip

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)


def _text(token: Any) -> str | None:
    return token["content"] if isinstance(token, dict) else token


def _template(config: dict[str, Any]) -> str:
    found = config.get("chat_template") or ""
    if isinstance(found, list):
        found = next(item["template"] for item in found if item["name"] == "default")
    return str(found)


def _environment() -> Any:
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def dump(value: Any, ensure_ascii: bool = False, **more: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **more)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    made.filters["tojson"] = dump
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def template(section: ModelSection) -> Template:
    """What the audit counts with. Raises ModelError when there is no such model."""
    # Here because it brings numpy, and a plan needs `Light` alone.
    from appliance.data.audit.lengths import Template

    folder = resolve(section).folder
    try:
        tokenizer: Any = Light(folder)
        special = tokenizer.special
    except Exception:  # no tokenizer.json, or a template beyond plain Jinja
        tokenizer, special = _whole(folder)

    def count(dialogues: Sequence[Sequence[Any]]) -> list[tuple[int, int]]:
        return [_sizes(tokenizer, messages) for messages in dialogues]

    return Template(count, special, section.max_length)


def _sizes(tokenizer: Any, messages: Sequence[Any]) -> tuple[int, int]:
    """(tokens in all, tokens of the last answer); (0, 0) where the template refuses the turns."""
    try:
        row = encode(tokenizer, messages, _LONGEST)
    except ModelError:
        return 0, 0
    answer = 0
    while answer < len(row.labels) and row.labels[-1 - answer] != IGNORE:
        answer += 1
    return len(row.input_ids), answer


def _whole(folder: Path) -> tuple[Any, tuple[str, ...]]:
    from appliance.model import backend

    backend.unsloth()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"The tokenizer in {folder} cannot be loaded ({reason}).", "Check that it is whole."
        ) from error
    tokenizer.chat_template = tokenizer.chat_template or plain.TEMPLATE
    return tokenizer, tuple(tokenizer.all_special_tokens)
