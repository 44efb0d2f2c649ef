"""RunDir: the only place that knows the file names of a run, and how they are written.

A file is written aside and renamed, so it is whole or not there. A stage is done when its last
file is there; that is how the same command goes on where a stopped run was.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from appliance.errors import ApplianceError, NoSpace, RunError
from appliance.recipe import Recipe, build

FULL = 2**20  # bytes free, under which a disk is full


class RunDir:
    """One run on disk. Nothing is created before `create`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    # what is in it, in the order of the stages
    recipe_file = property(lambda self: self.root / "recipe.yaml")
    manifest = property(lambda self: self.root / "manifest.json")
    events = property(lambda self: self.root / "events.jsonl")
    log = property(lambda self: self.root / "logs" / "libraries.log")
    told = property(lambda self: self.root / "logs" / "run.log")
    train_rows = property(lambda self: self.root / "data" / "train.jsonl")
    valid_rows = property(lambda self: self.root / "data" / "valid.jsonl")
    test_rows = property(lambda self: self.root / "data" / "test.jsonl")
    data_facts = property(lambda self: self.root / "data" / "data.json")
    canaries = property(lambda self: self.root / "data" / "canaries.json")
    audit = property(lambda self: self.root / "audit.json")
    rehearsal_rows = property(lambda self: self.root / "data" / "rehearsal.jsonl")
    rehearsal_facts = property(lambda self: self.root / "data" / "rehearsal.json")
    base_answers = property(lambda self: self.root / "base_answers.jsonl")
    answers_before = property(lambda self: self.root / "answers_before.jsonl")
    answers_after = property(lambda self: self.root / "answers_after.jsonl")
    scores_before = property(lambda self: self.root / "scores_before.json")
    metrics = property(lambda self: self.root / "train" / "metrics.jsonl")
    train_facts = property(lambda self: self.root / "train" / "train.json")
    trainer = property(lambda self: self.root / "train" / "trainer")
    adapter = property(lambda self: self.root / "adapter")
    scores_after = property(lambda self: self.root / "scores_after.json")
    verdict = property(lambda self: self.root / "verdict.json")
    dial = property(lambda self: self.root / "dial.json")
    scores_dial = property(lambda self: self.root / "scores_after_dial.json")
    answers_dial = property(lambda self: self.root / "answers_after_dial.jsonl")
    merged = property(lambda self: self.root / "export" / "merged")
    export_facts = property(lambda self: self.root / "export" / "export.json")
    advice = property(lambda self: self.root / "advice.json")
    report = property(lambda self: self.root / "report.html")

    @classmethod
    def open(cls, root: str | Path) -> RunDir:
        """An existing run. Raises RunError when the folder holds none."""
        run = cls(root)
        if not run.recipe_file.is_file():
            raise RunError(
                f"{root} is not a run directory.", "Name the folder that `train --run` made."
            )
        return run

    def create(self, recipe: Recipe, force: bool = False) -> None:
        """Make the folder, or go on in it when its recipe is the same.

        Raises RunError when it belongs to another recipe or holds other things, NoSpace.
        """
        if self.recipe_file.is_file():
            changed = differences(self.recipe(), recipe)
            if changed and not force:
                raise RunError(
                    f"{self.root} was made with another recipe ({'; '.join(changed[:3])}).",
                    "Name another --run, or --force to go on in it all the same.",
                )
        elif self.root.is_dir() and any(
            entry.name not in ("lock", "logs") for entry in self.root.iterdir()
        ):
            raise RunError(
                f"{self.root} holds other files and no run.", "Name a new or empty --run folder."
            )
        write_text(self.recipe_file, recipe.dump())

    def recipe(self) -> Recipe:
        try:
            tree = yaml.safe_load(self.recipe_file.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(
                f"{self.recipe_file} cannot be read.", "Start the run anew in another folder."
            ) from error
        return build(tree if isinstance(tree, dict) else {}, str(self.recipe_file))

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run. Raises RunError at once when another process has it."""
        return hold(self.root, "--run")

    def take_data(self, other: RunDir) -> None:
        """Copy what the data stage wrote in `other`; the file that says it is done comes last."""
        planted = ["canaries"] if other.canaries.is_file() else []
        self._take(other, "train_rows", "valid_rows", "test_rows", *planted, "audit", "data_facts")

    def take_baseline(self, other: RunDir) -> None:
        """Copy what the baseline stage measured in `other`, likewise."""
        self._take(other, "base_answers", "answers_before", "scores_before")

    def _take(self, other: RunDir, *names: str) -> None:
        for name in names:
            copy(getattr(other, name), getattr(self, name))

    def event(self, kind: str, text: str, **facts: Any) -> dict[str, Any]:
        """Add one line to events.jsonl: stages, warnings, alarms."""
        record = {"time": now(), "kind": kind, "text": text, **facts}
        append_jsonl(self.events, record)
        return record


@contextmanager
def hold(root: Path, option: str) -> Iterator[None]:
    """Hold a folder. Raises RunError at once when another process has it.

    flock: the system frees it when the process dies, so a stale lock cannot exist. `option` is
    the one that named the folder.
    """
    path = root / "lock"
    with space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"{root} is in use by another process.",
                f"Wait for it, or name another {option}.",
            ) from error
        yield
    finally:
        handle.close()


def differences(old: Recipe, new: Recipe) -> list[str]:
    """`key: old -> new` for every leaf that differs."""

    def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    before, after = dict(flat(old.model_dump(mode="json"))), dict(flat(new.model_dump(mode="json")))
    return [f"{k}: {before[k]} -> {after[k]}" for k in before if before[k] != after[k]]


def fresh_name(recipe: str) -> Path:
    """`runs/<recipe>-<date>-<time>`: the default of --run."""
    return Path("runs") / f"{Path(recipe).stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def sync(path: Path) -> None:
    """Until a file, or what a folder holds by name, is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def space(path: Path) -> Iterator[None]:
    """What the disk says of `path` as an error of ours. Raises NoSpace, RunError."""
    try:
        yield
    except ApplianceError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(path) from error
        if isinstance(error, (PermissionError, NotADirectoryError, FileExistsError)) or (
            error.errno == errno.EROFS
        ):
            raise RunError(
                f"{path} cannot be written ({error.strerror}).",
                "Name a --run folder that belongs to you.",
            ) from error
        raise
    except Exception as error:
        # torch and safetensors have errors of their own for a full disk.
        if _free(path) < FULL:
            raise _no_space(path) from error
        raise


def _no_space(path: Path) -> NoSpace:
    return NoSpace(f"No space left for {path}.", "Free some, and give the same command again.")


def _free(path: Path) -> int:
    """Bytes on the disk of the nearest folder above `path` that is there."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free


def need(folder: Path, size: float, what: str, do: str) -> None:
    """Raises NoSpace where `what` takes `size` bytes in `folder` and the disk has not so many."""
    with space(folder):
        folder.mkdir(parents=True, exist_ok=True)
    free = _free(folder)
    if free < size:
        raise NoSpace(
            f"{what} need {size / 2**30:.1f} GiB in {folder}, and {free / 2**30:.1f} GiB are free.",
            f"Free some, and give the same command again: {do}",
        )


def write_bytes(path: Path, data: bytes) -> None:
    """Write aside, sync, rename. Raises NoSpace, RunError."""
    aside = path.with_name(f".{path.name}.part")
    with space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def copy(source: Path, target: Path) -> None:
    """A file as it is, written aside and renamed. Raises NoSpace, RunError."""
    aside = target.with_name(f".{target.name}.part")
    with space(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, aside)
            with aside.open("rb") as handle:
                os.fsync(handle.fileno())
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def writer(path: Path) -> Iterator[Callable[[str], object]]:
    """Write text piece by piece; the file is there when the block ends well, and else never."""
    aside = path.with_name(f".{path.name}.part")
    with space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("w", encoding="utf-8") as handle:
                yield handle.write
                handle.flush()
                os.fsync(handle.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Raises RunError when the file is missing or cut."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} is missing or damaged.", "Run the stage that writes it again (`train --run`)."
        ) from error


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    with space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Raises RunError naming the line when the file is missing or cut."""
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as handle:
            for line in handle:
                rows.append(json.loads(line))
        return rows
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} is missing or damaged (line {len(rows) + 1}).",
            "Run the stage that writes it again.",
        ) from error


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
