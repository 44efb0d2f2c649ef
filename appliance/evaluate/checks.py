"""Constraints on an answer that a program can check: how `checks` of a suite's items are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Check = Mapping[str, Any]

# kind -> does the answer keep to it?
KINDS: dict[str, Callable[[str, Check], bool]] = {}


def holds(check: Check, answer: str) -> bool:
    """Does the answer keep to this check?"""
    return KINDS[check["kind"]](answer, check)


def fault(check: Any) -> str:
    """What is wrong with a check as it stands in a suite's file, or ""."""
    if not isinstance(check, Mapping) or check.get("kind") not in KINDS:
        return f"a check's kind is not one of {', '.join(sorted(KINDS))}"
    return ""
