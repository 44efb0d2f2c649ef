"""The two kinds of training example, and the one JSONL form in which a run keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from appliance.errors import DataError


class Message(TypedDict):
    """One turn. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Row:
    """One example for SFT. The last message is the assistant's; `line` counts from 1."""

    messages: tuple[Message, ...]
    source: str
    line: int

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        return self.messages[-1]["content"]

    def to_json(self) -> dict[str, Any]:
        return {"messages": list(self.messages), "source": self.source, "line": self.line}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Row:
        """Raises KeyError or TypeError when `to_json` did not write this."""
        return cls(_messages(fields["messages"]), str(fields["source"]), int(fields["line"]))


@dataclass(frozen=True, slots=True)
class Pair:
    """One example for DPO. `chosen` and `rejected` are assistant turns, normally one each."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    source: str
    line: int

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt": list(self.prompt),
            "chosen": list(self.chosen),
            "rejected": list(self.rejected),
            "source": self.source,
            "line": self.line,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Pair:
        """Raises KeyError or TypeError when `to_json` did not write this."""
        return cls(
            _messages(fields["prompt"]),
            _messages(fields["chosen"]),
            _messages(fields["rejected"]),
            str(fields["source"]),
            int(fields["line"]),
        )


Example = Row | Pair
_Kind = TypeVar("_Kind", Row, Pair)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError("not a list of messages")
    made = []
    for item in value:
        role, content = item["role"], item["content"]
        if not isinstance(role, str) or not isinstance(content, str):
            raise TypeError("not a message")
        made.append(Message(role=role, content=content))
    return tuple(made)


def write_jsonl(path: str | Path, rows: Sequence[Example]) -> None:
    """Write rows whole or not at all. Raises NoSpace, RunError."""
    # Here because it brings pydantic, and this module must stay quick to import.
    from appliance.disk import write_jsonl as write

    write(Path(path), [row.to_json() for row in rows])


def read_rows(path: str | Path) -> list[Row]:
    """What `write_jsonl` wrote; an empty file is no rows. Raises DataError with file and line."""
    return [_own(Row, raw, path) for raw in _raw(path)]


def read_pairs(path: str | Path) -> list[Pair]:
    """As `read_rows`, for pairs."""
    return [_own(Pair, raw, path) for raw in _raw(path)]


def _raw(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    from appliance.data.files import read_jsonl

    for raw in read_jsonl(Path(path)):
        yield raw.line, raw.fields


def _own(kind: type[_Kind], raw: tuple[int, dict[str, Any]], path: str | Path) -> _Kind:
    line, fields = raw
    try:
        return kind.from_json(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}:{line} is not a row that the appliance wrote.",
            "Run the stage that writes it again (`train --run`).",
        ) from error
