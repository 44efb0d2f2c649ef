"""Reading and writing whole files: aside, synced, renamed; and what the disk says as our errors."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, NoSpace, RunError

AGAIN = "Delete it, and give the same command again: the stage that writes it is done anew."
FULL = 2**20  # bytes free, under which a disk is full


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


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """Where to write `path` aside: synced and renamed when the block ends well, and else gone.

    Raises NoSpace, RunError.
    """
    aside = path.with_name(f".{path.name}.part")
    with space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            sync(aside)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def placed_folder(folder: Path) -> Iterator[Path]:
    """The same for a folder of files, in the place of one that was there before."""
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with space(folder):
            aside.mkdir(parents=True)
            yield aside
            for path in aside.iterdir():
                sync(path)
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    with placed(path) as aside:
        aside.write_bytes(data)


def copy(source: Path, target: Path) -> None:
    with placed(target) as aside:
        shutil.copyfile(source, aside)


@contextmanager
def writer(path: Path) -> Iterator[Callable[[str], object]]:
    """Write text piece by piece; the file is there when the block ends well, and else never."""
    with placed(path) as aside, aside.open("w", encoding="utf-8") as handle:
        yield handle.write


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


class NoSuchKey(RunError, KeyError):
    """A KeyError too, so that whoever can do without the key may say so: `get`, a template."""

    __str__ = Exception.__str__


class Held(dict[str, Any]):
    """An object out of a file of the run. A key that is not there raises RunError with the file."""

    path = Path()

    def __missing__(self, key: str) -> Any:
        raise NoSuchKey(f"{self.path} is damaged: it holds no {key}.", AGAIN)


def _read(path: Path, text: str, form: type) -> Any:
    """`text` as JSON of `form`, objects as Held. Raises ValueError."""

    def held(found: dict[str, Any]) -> Held:
        kept = Held(found)
        kept.path = path
        return kept

    value = json.loads(text, object_hook=held)
    if not isinstance(value, form):
        raise ValueError(f"{path} holds no {form.__name__}")
    return value


def read_json(path: Path, form: type = dict) -> Any:
    """Raises RunError when the file is missing, cut, or does not hold a `form`."""
    try:
        return _read(path, path.read_text(encoding="utf-8"), form)
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is missing or damaged.", AGAIN) from error


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Add a line to a log. A last line that a killed process left half written goes."""
    with space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as handle:
            if handle.tell():
                handle.seek(-1, os.SEEK_END)
                if handle.read(1) != b"\n":
                    handle.seek(0)
                    handle.truncate(handle.read().rfind(b"\n") + 1)
            line = json.dumps(row, ensure_ascii=False, default=str) + "\n"
            handle.write(line.encode())


def read_log(path: Path) -> list[dict[str, Any]]:
    """What `append_jsonl` wrote, without a last line that is half; none where there is no file.

    Raises RunError naming the line when an earlier one is damaged.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise RunError(f"{path} cannot be read.", AGAIN) from error
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            rows.append(_read(path, line, dict))
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} is damaged (line {number}).", AGAIN) from error
    return rows


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Raises RunError naming the line when the file is missing or cut."""
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as handle:
            for line in handle:
                rows.append(_read(path, line, dict))
        return rows
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is missing or damaged (line {len(rows) + 1}).", AGAIN) from error


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
