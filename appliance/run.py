"""RunDir: the only place that knows the file names of a run.

A file is written aside and renamed (`disk.py`), so it is whole or not there. A stage is done when
its last file is there; that is how the same command goes on where a stopped run was.
"""

from __future__ import annotations

import fcntl
import shlex
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import yaml

from appliance.disk import append_jsonl, copy, space, write_text
from appliance.errors import RunError
from appliance.recipe import Recipe, build


class RunDir:
    """One run on disk. Nothing is created before `create`.

    `writes`: of the processes of one training the first alone does.
    """

    writes = True

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
    failure = property(lambda self: self.root / "train" / "failure.json")
    adapter = property(lambda self: self.root / "adapter")
    scores_after = property(lambda self: self.root / "scores_after.json")
    verdict = property(lambda self: self.root / "verdict.json")
    dial = property(lambda self: self.root / "dial.json")
    scores_dial = property(lambda self: self.root / "scores_after_dial.json")
    answers_dial = property(lambda self: self.root / "answers_after_dial.jsonl")
    merged = property(lambda self: self.root / "export" / "merged")
    exported_adapter = property(lambda self: self.root / "export" / "adapter")
    gguf = property(lambda self: self.root / "export" / "gguf")
    proof = property(lambda self: self.root / "export" / "proof.json")
    card = property(lambda self: self.root / "export" / "README.md")
    unusable = property(lambda self: self.root / "export" / "UNUSABLE")
    export_facts = property(lambda self: self.root / "export" / "export.json")
    advice = property(lambda self: self.root / "advice.json")
    report = property(lambda self: self.root / "report.html")
    report_numbers = property(lambda self: self.root / "report.json")

    @classmethod
    def open(cls, root: str | Path) -> RunDir:
        """An existing run. Raises RunError when the folder holds none."""
        run = cls(root)
        if not run.recipe_file.is_file():
            raise RunError(
                f"{root} is not a run directory.", "Name the folder that `train --run` made."
            )
        return run

    @property
    def again(self) -> str:
        """The command that goes on in it."""
        return shlex.join(["appliance", "train", str(self.recipe_file), "--run", str(self.root)])

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
            if not changed:
                return
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
        left = [n for n in Recipe.model_fields if not isinstance(tree, dict) or n not in tree]
        if left:  # it was written whole: every section is there
            raise RunError(
                f"{self.recipe_file} is damaged: it holds no {left[0]}.",
                "Start the run anew in another folder.",
            )
        return build(tree, str(self.recipe_file))

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run. Raises RunError at once when another process has it."""
        return hold(self.root, "--run")

    def take_data(self, other: RunDir) -> None:
        """Copy what the data stage wrote in `other`; the file that says it is done comes last."""
        planted = ["canaries"] if other.canaries.is_file() else []
        self._take(other, "train_rows", "valid_rows", "test_rows", *planted, "audit", "data_facts")

    def take_baseline(self, other: RunDir) -> None:
        """Copy what the baseline stage measured in `other`, likewise."""
        self.take_answers(other)
        self._take(other, "scores_before")

    def take_answers(self, other: RunDir) -> None:
        """The baseline without its scores, which say that it is done."""
        self._take(other, "base_answers", "answers_before")

    def _take(self, other: RunDir, *names: str) -> None:
        for name in names:
            copy(getattr(other, name), getattr(self, name))

    def event(self, kind: str, text: str, **facts: Any) -> dict[str, Any]:
        """Add one line to events.jsonl: stages, warnings, alarms."""
        record = {"time": now(), "kind": kind, "text": text, **facts}
        if self.writes:
            append_jsonl(self.events, record)
        return record

    def metric(self, record: dict[str, Any]) -> None:
        """Add one line to train/metrics.jsonl."""
        if self.writes:
            append_jsonl(self.metrics, record)


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
        if not _locked(handle):
            raise RunError(
                f"{root} is in use by another process.",
                f"Wait for it, or name another {option}.",
            )
        yield
    finally:
        handle.close()


def _locked(handle: TextIO) -> bool:
    """Take the lock. Who only asks whether it is held (`held`) has it for a moment: once more."""
    for again in (True, False):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if again:
                time.sleep(0.05)
    return False


def held(root: Path) -> bool:
    """Does a process hold the folder? Creates nothing, and holds it for no longer than it asks.

    The lock is seen from outside a container too, where the folder is on the same file system;
    not across a network share or into a virtual machine.
    """
    try:
        with (root / "lock").open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, or one that may not be read
        return False
    return False


def differences(old: Recipe, new: Recipe) -> list[str]:
    """`key: old -> new` for every leaf that differs."""
    before, after = leaves(old.model_dump(mode="json")), leaves(new.model_dump(mode="json"))
    return [f"{k}: {before[k]} -> {after[k]}" for k in before if before[k] != after[k]]


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`section.key` and its value, of every leaf of a recipe's plain tree."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= (
            leaves(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return found


def fresh_name(recipe: str) -> Path:
    """`runs/<recipe>-<date>-<time>`: the default of --run."""
    return Path("runs") / f"{Path(recipe).stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
