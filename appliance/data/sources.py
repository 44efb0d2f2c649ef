"""Which files hold the training rows and which the test rows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from appliance.data.read import Located, locate

DEMO = Path(__file__).parent / "demo"
# What the user named, and what was found there.
Named = tuple[str, Located]


def choose(train: str, test: str | None, preference: bool) -> tuple[Named, Named | None, str]:
    """(train, test or None, how the test was found: given, beside). Raises DataError."""
    train = _demo("train", preference) if train == "demo" else train
    located = locate(train)
    part, other = _parts(located)
    if test is not None:
        test = _demo("test", preference) if test == "demo" else test
        found = locate(test)
        # A folder of both, given as test, means its test files.
        return (train, part), (test, _parts(found)[1] or found), "given"
    if other is not None:
        return (train, part), (", ".join(path.name for path in other.files), other), "beside"
    beside = _beside(located)
    if beside is not None:
        return (train, part), (beside.name, locate(beside)), "beside"
    return (train, part), None, ""


def _demo(part: str, preference: bool) -> str:
    return str(DEMO / ("pairs.jsonl" if preference else f"{part}.jsonl"))


def _beside(located: Located) -> Path | None:
    """test.csv beside train.csv."""
    if len(located.files) != 1:
        return None
    path = located.files[0]
    # The last `train` of the name, so that training-train.csv has test beside it too.
    beside = path.with_name(re.sub(r"(?i)train(?!.*train)", "test", path.name))
    return beside if beside != path and beside.is_file() else None


def _parts(located: Located) -> tuple[Located, Located | None]:
    """A folder with train and test files holds two data sets: (train part, test part)."""
    named = {
        part: tuple(path for path in located.files if _is_part(path, part))
        for part in ("train", "test")
    }
    if len(located.files) < 2 or not named["train"] or len(named["train"]) == len(located.files):
        return located, None
    others = [path for path in located.files if path not in named["train"] + named["test"]]
    ignored = located.ignored + tuple(path.name for path in others)
    train = replace(located, files=named["train"], ignored=ignored)
    return train, replace(located, files=named["test"], ignored=()) if named["test"] else None


def _is_part(path: Path, part: str) -> bool:
    return re.search(rf"(?<![a-z]){part}(?![a-z])", path.name.lower()) is not None
