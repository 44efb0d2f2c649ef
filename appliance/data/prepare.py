"""Data of a recipe to train, valid and test rows. Every row read is used or accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Protocol

from appliance.data.files import Raw
from appliance.data.forms import ColumnNames, Form, SetAside, convert, describe, recognize
from appliance.data.read import Located, locate, read_located
from appliance.data.rows import Example, Row
from appliance.data.sources import Named, choose
from appliance.data.split import prompt_key, sample, split
from appliance.errors import DataError

_REASONS = 20  # set-aside rows that are named one by one
_LEAST, _VALID_MOST, _VALID_FROM = 8, 64, 80
_ENOUGH = 0.5  # of the held-out rows that are wanted, under which groups are too large

Say = Callable[[str], None]


class ColumnsSection(Protocol):
    @property
    def prompt(self) -> str | None: ...
    @property
    def completion(self) -> str | None: ...


class DataSection(Protocol):
    """What is read of the recipe's `data`; the real one is `appliance.recipe.DataSection`."""

    @property
    def train(self) -> str: ...
    @property
    def test(self) -> str | None: ...
    @property
    def form(self) -> str: ...
    @property
    def columns(self) -> ColumnsSection: ...
    @property
    def system(self) -> str | None: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def test_limit(self) -> int: ...
    @property
    def test_share(self) -> float: ...
    @property
    def valid_share(self) -> float: ...


@dataclass(frozen=True)
class Prepared:
    """Rows for the three uses, their form, and `facts`: what was read and what became of it."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]
    form: Form
    facts: dict[str, Any]


@dataclass
class Source:
    """What was read of one source. read = set_aside + not_sampled + rows."""

    name: str
    located: Located
    form: Form
    rows: list[Example] = field(default_factory=list)
    read: int = 0
    set_aside: int = 0
    first: list[SetAside] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        # Here because it brings pydantic, and this module must stay quick to import.
        from appliance.disk import sha256

        return {
            "source": self.name,
            "files": [
                {"path": str(path), "sha256": sha256(path), "bytes": path.stat().st_size}
                for path in self.located.files
            ],
            "hub": f"{self.located.hub}:{self.located.split}" if self.located.hub else None,
            "ignored_files": list(self.located.ignored),
            "form": describe(self.form),
            "unused_keys": list(self.form.unused),
            "read": self.read,
            "set_aside": self.set_aside,
            "set_aside_first": [f"{row.file}:{row.line}: {row.reason}" for row in self.first],
            "not_sampled": self.read - self.set_aside - len(self.rows),
            "used": len(self.rows),
        }


def prepare(
    data: DataSection, *, preference: bool, seed: int, say: Say, near: float | None = 0.8
) -> Prepared:
    """Read, recognize, sample and split, saying each choice aloud. Raises DataError.

    Prompts that share `near` of their words stay on one side of the split; None: equal ones, which
    is quick.
    """
    train_from, test_from, how = choose(data.train, data.test, preference)
    source = _read(data, "data.train", train_from, None, data.limit, preference, seed)
    _tell(source, data.limit, seed, say)
    held: Source | None = None
    if test_from is not None:
        if how == "beside":
            say(f"data: test rows from {test_from[0]} beside it.")
        held = _read(data, "data.test", test_from, source.form, data.test_limit, preference, seed)
        _tell(held, data.test_limit, seed, say)
    test_rows = 0 if held else _test_rows(len(source.rows), data)
    valid_rows = _valid_rows(len(source.rows) - test_rows, data.valid_share)
    train, valid, test, grouped = _split(source.rows, test_rows, valid_rows, seed, near, say)
    if held is None:
        share = f"{len(test)} of {len(source.rows)} rows"
        say(f"data: no test rows given, so {share} are held out for the test, by prompt.")
    else:
        test = held.rows
    shared = _shared(train, test)
    if shared:
        say(
            f"data: {shared} of {len(test)} test rows have a prompt that also stands in train; "
            "what they score is partly memory."
        )
    say(f"data: {len(train)} rows to train on, {len(valid)} to watch, {len(test)} to test.")
    facts = {
        "form": describe(source.form),
        "preference": preference,
        "seed": seed,
        "system": data.system,
        "limit": data.limit,
        "train_source": source.facts(),
        "test_source": held.facts() if held else None,
        "split_by": grouped,
        "test_from": "carved from train" if held is None else how,
        "rows": {"train": len(train), "valid": len(valid), "test": len(test)},
        "test_prompts_also_in_train": shared,
        "repeated_prompts_in_train": _repeated(train),
    }
    return Prepared(train, valid, test, source.form, facts)


def read_general(name: str, say: Say) -> tuple[list[Row], dict[str, Any]]:
    """(every usable row of a file of general dialogues, facts). Raises DataError."""
    # Here because it brings pydantic, and this module must stay quick to import.
    from appliance.sections.source import DataSection as Section

    source = _read(
        Section(train=name), "rehearsal.sources", (name, locate(name)), None, None, False, 0
    )
    _tell(source, None, 0, say)
    return [row for row in source.rows if isinstance(row, Row)], source.facts()


def _split(
    rows: list[Example], test_rows: int, valid_rows: int, seed: int, near: float | None, say: Say
) -> tuple[list[Example], list[Example], list[Example], str]:
    """`split` by near prompts; by equal ones where too many rows hang together to be divided."""
    if not test_rows and not valid_rows:
        return *split(rows, 0, 0, seed), "nothing"
    if near is None:
        return *split(rows, test_rows, valid_rows, seed), "equal prompts"
    # Here because it brings numpy, and this module must stay quick to import.
    from appliance.data.audit.groups import near_groups

    parts = split(rows, test_rows, valid_rows, seed, near_groups(rows, near))
    if len(parts[2]) >= _ENOUGH * test_rows and len(parts[1]) >= _ENOUGH * valid_rows:
        return *parts, "near prompts"
    say(
        "data: so many prompts are near one another that they cannot be kept on one side; the "
        "split keeps equal prompts together, and the audit counts the near ones."
    )
    return *split(rows, test_rows, valid_rows, seed), "equal prompts"


def _read(
    data: DataSection,
    key: str,
    wanted: Named,
    like: Form | None,
    limit: int | None,
    preference: bool,
    seed: int,
) -> Source:
    """Every row is converted, so a broken one is found also where a sample is used."""
    name, located = wanted
    raws = read_located(located)
    first = next(raws, None)
    if first is None:
        raise DataError(f"{key}={name} holds no rows.", "Give data with rows.")
    source = Source(name, located, _form(data, first, like, preference))
    source.rows = sample(_usable(chain([first], raws), source, data.system), limit, seed)
    if not source.rows:
        why = source.first[0]
        raise DataError(
            f"No row of {key}={name} can be used: all {source.read} are set aside, the "
            f"first one ({why.file}:{why.line}) because {why.reason}.",
            "Give other data, or say its form with --set data.form=FORM.",
        )
    return source


def _form(data: DataSection, first: Raw, like: Form | None, preference: bool) -> Form:
    prompt, completion = data.columns.prompt, data.columns.completion
    if (prompt is None) != (completion is None):
        missing = "prompt" if prompt is None else "completion"
        raise DataError(
            f"data.columns.{missing} is not set, and its other half is.",
            f"Add --set data.columns.{missing}=NAME.",
        )
    columns = ColumnNames(prompt, completion) if prompt and completion else None
    try:
        form = recognize(first.fields, preference=preference, columns=columns, name=data.form)
    except DataError as error:
        raise DataError(f"{first.file}: {error.what}", error.do) from error
    # Test columns in another order are still the columns that train has.
    names = like.columns if like else None
    if names and {names.prompt, names.completion} <= first.fields.keys():
        return replace(form, name="columns", columns=names)
    return form


def _usable(raws: Iterator[Raw], source: Source, system: str | None) -> Iterator[Example]:
    for raw in raws:
        source.read += 1
        made = convert(raw, source.form, system)
        if isinstance(made, SetAside):
            source.set_aside += 1
            if len(source.first) < _REASONS:
                source.first.append(made)
        else:
            yield made


def _tell(source: Source, limit: int | None, seed: int, say: Say) -> None:
    say(f"data: {source.name}: {source.read} rows, {describe(source.form)}.")
    if source.located.ignored:
        say(f"data: not read from {source.name}: {', '.join(source.located.ignored)}.")
    if source.form.unused:
        say(f"data: not used of each row: {', '.join(source.form.unused)}.")
    if source.set_aside:
        first = source.first[0]
        say(
            f"data: {source.set_aside} rows set aside, the first one {first.file}:{first.line}: "
            f"{first.reason}."
        )
    usable = source.read - source.set_aside
    if limit is not None and usable > limit:
        say(f"data: a sample of {limit} of {usable} rows, over the whole of it (seed {seed}).")


def _test_rows(rows: int, data: DataSection) -> int:
    """The share, at least 8 and at most the limit; half stays for training in any case."""
    if data.test_share <= 0:
        return 0
    return min(max(_LEAST, round(data.test_share * rows)), data.test_limit, rows // 2)


def _valid_rows(rows: int, share: float) -> int:
    if share <= 0:
        return 0
    least = _LEAST if rows >= _VALID_FROM else 0
    return min(max(least, round(share * rows)), _VALID_MOST)


def _shared(train: list[Example], test: list[Example]) -> int:
    known = {prompt_key(row) for row in train}
    return sum(prompt_key(row) in known for row in test)


def _repeated(train: list[Example]) -> int:
    """Rows whose prompt stands in an earlier row of train."""
    return sum(count - 1 for count in Counter(map(prompt_key, train)).values())
