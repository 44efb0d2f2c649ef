"""Texts that were decoded wrongly, and marks of a template inside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

# Tabs and line ends are not in it; a byte order mark or a turn of writing direction is.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069]")
_LOST = "\ufffd"
# What the templates of the common model families use, where the model's own are not known.
COMMON_MARKS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>",
    "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|return|>", "[INST]", "[/INST]",
)  # fmt: skip


# Where a fault may be: the cheap question that is asked of every text.
TRACE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[^\x00-\x7f]"


def fault(text: str) -> str:
    """What is wrong with the encoding of a text; '' when nothing is."""
    if _LOST in text:
        return "lost signs (U+FFFD)"
    found = _CONTROL.search(text)
    if found:
        return f"control sign U+{ord(found[0]):04X}"
    if not text.isascii():
        from ftfy.badness import is_bad

        if is_bad(text):
            return "decoded wrongly (mojibake)"
    return ""


def repaired(text: str) -> str:
    """The text as it was meant, as far as that can be known. What is sound stays as it is."""
    if not fault(text):
        return text
    from ftfy import fix_encoding

    return _CONTROL.sub("", fix_encoding(text))


def mended(value: Any) -> Any:
    """`repaired` for every text inside a row."""
    if isinstance(value, str):
        return repaired(value)
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {key: mended(item) for key, item in value.items()}
    return value


def marks(special: Sequence[str]) -> str:
    """One pattern for all marks, the longest first."""
    wanted = sorted(set(special) or set(COMMON_MARKS), key=len, reverse=True)
    return "|".join(map(re.escape, wanted))
