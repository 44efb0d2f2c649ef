"""A run directory read for a page: typed, and whatever is missing, cut or strange is said.

`read` raises nothing for what a run's files hold: a file that is not there, or is not what a stage
writes, is None (lines: none), and `Reading.absent` and `Reading.damaged` name it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from appliance.errors import ApplianceError
from appliance.recipe import Recipe, load
from appliance.report import shapes
from appliance.report.shapes_audit import Audit
from appliance.report.state import State, look
from appliance.run import RunDir, differences, held

_Kind = TypeVar("_Kind", bound=shapes.Shape)
# The files that a page is made of, by the stage that writes them (pipeline.STAGES).
STAGES: Mapping[str, tuple[str, ...]] = {
    "data": ("audit",),
    "baseline": ("manifest", "scores_before", "answers_before"),
    "rehearse": ("rehearsal_facts",),
    "train": ("metrics", "train_facts"),
    "evaluate": ("scores_after", "answers_after"),
    "gate": ("verdict",),
    "dial": ("dial",),
    "export": ("export_facts",),
}
Record = Mapping[str, float]  # one line of metrics.jsonl


@dataclass(frozen=True)
class Reading:
    """All of a run that a page shows. `root` is as it was named, `name` its last part."""

    root: Path
    name: str
    state: State
    recipe: Recipe | None = None
    recipe_text: str = ""
    changed: tuple[str, ...] = ()  # `key: default -> this recipe's`
    manifest: Mapping[str, Any] | None = None
    audit: Audit | None = None
    before: shapes.Scores | None = None
    after: shapes.Scores | None = None
    answers_before: tuple[shapes.Item, ...] = ()
    answers_after: tuple[shapes.Item, ...] = ()
    rehearsal: shapes.Rehearsal | None = None
    metrics: tuple[Record, ...] = ()
    training: shapes.Training | None = None
    verdict: shapes.Verdict | None = None
    dial: shapes.Dial | None = None
    export: shapes.Export | None = None
    proof: shapes.Proof | None = None
    advice: shapes.Alternatives | None = None
    events: tuple[shapes.Event, ...] = ()
    absent: tuple[str, ...] = ()  # `verdict.json (gate)`
    damaged: tuple[str, ...] = ()  # a sentence each

    @property
    def holds_a_run(self) -> bool:
        """Is any file of a run there, be it damaged?"""
        return bool(self.recipe_text or self.events or self.damaged or self.audit or self.after)

    @property
    def trained(self) -> tuple[shapes.Event, ...]:
        """The events since training began, the last time that it did so at its first step."""
        begins = [i for i, e in enumerate(self.events) if e.kind == "train" and not e.begun]
        begun = begins[-1] if begins else 0
        return self.events[begun:]

    @property
    def alarms(self) -> list[shapes.Event]:
        """Each once: one that rose after the checkpoint where training went on rises again."""
        rose = {(e.name, e.step): e for e in self.trained if e.kind == "alarm"}
        return list(rose.values())

    @property
    def notes(self) -> list[shapes.Event]:
        return [e for e in self.trained if e.kind == "note"]

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds of each stage, the last time that it ended."""
        ended = [e for e in self.events if e.kind == "stage" and e.seconds is not None]
        return {e.text: e.seconds for e in ended if e.seconds is not None}

    @property
    def price(self) -> shapes.Price | None:
        """By its manifest (`manifest.charge`): as given, or typical of its card; None: unknown."""
        try:
            return shapes.Price.model_validate((self.manifest or {}).get("price"))
        except ValidationError:
            return None

    def series(self, key: str) -> list[tuple[float, float]]:
        """(step, value) of every line of metrics.jsonl that has `key`; NaN where it wrote one."""
        return [(r["step"], r[key]) for r in self.metrics if key in r]


def read(run: RunDir, *, over: bool | None = None) -> Reading:
    """Read `run`. `over`: whether it has ended; None: its lock and its last events say."""
    reader = _Reader(run)
    events = tuple(reader.lines(run.events, shapes.Event))
    recipe = reader.recipe()
    found: dict[str, Any] = {
        "manifest": reader.mapping(run.manifest),
        "audit": reader.one(run.audit, Audit),
        "before": reader.one(run.scores_before, shapes.Scores),
        "after": reader.one(run.scores_after, shapes.Scores),
        "answers_before": reader.lines(run.answers_before, shapes.Item),
        "answers_after": reader.lines(run.answers_after, shapes.Item),
        "rehearsal": reader.one(run.rehearsal_facts, shapes.Rehearsal),
        "metrics": reader.metrics(run.metrics),
        "training": reader.one(run.train_facts, shapes.Training),
        "verdict": reader.one(run.verdict, shapes.Verdict),
        "dial": reader.one(run.dial, shapes.Dial),
        "export": reader.one(run.export_facts, shapes.Export),
        "proof": reader.one(run.proof, shapes.Proof),
        "advice": reader.one(run.advice, shapes.Alternatives),
    }
    running = held(run.root) if over is None else not over
    return Reading(
        root=run.root,
        name=run.root.resolve().name,
        state=look(events, running=running),
        recipe=recipe,
        recipe_text=reader.text(run.recipe_file),
        changed=_changed(recipe),
        events=events,
        absent=_absent(run, recipe),
        damaged=tuple(reader.damaged),
        **found,
    )


def _changed(recipe: Recipe | None) -> tuple[str, ...]:
    """What differs from the defaults of its method."""
    return tuple(differences(load(recipe.method), recipe)) if recipe else ()


def _absent(run: RunDir, recipe: Recipe | None) -> tuple[str, ...]:
    """Files that a whole run has and this one has not."""
    skipped = ("rehearse", "train", "dial", "export") if recipe and recipe.evaluate.tuned else ()
    recipe_file = () if run.recipe_file.is_file() else (run.recipe_file.name,)
    return recipe_file + tuple(
        f"{getattr(run, name).relative_to(run.root)} ({stage})"
        for stage, names in STAGES.items()
        if stage not in skipped
        for name in names
        if not getattr(run, name).is_file()
    )


@dataclass
class _Reader:
    run: RunDir
    damaged: list[str] = field(default_factory=list)

    def one(self, path: Path, kind: type[_Kind]) -> _Kind | None:
        data = self._bytes(path)
        if data is None:
            return None
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            self._say(path, f"is damaged: {_first(error)}")
            return None

    def mapping(self, path: Path) -> Mapping[str, Any] | None:
        """A file that is shown as it is."""
        data = self._bytes(path)
        if data is None:
            return None
        try:
            found = json.loads(data)
            if not isinstance(found, dict):
                raise ValueError("it holds no keys")
            return found
        except (ValueError, RecursionError):
            self._say(path, "is damaged: it is no JSON object")
            return None

    def lines(self, path: Path, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """Every line that can be read; the others are counted. A half last line is passed over:
        a process that was killed leaves one.
        """
        found: list[_Kind] = []
        bad: list[int] = []
        for number, line in enumerate(self._lines(path), 1):
            try:
                found.append(kind.model_validate_json(line))
            except ValidationError:
                bad.append(number)
        self._say_lines(path, bad)
        return tuple(found)

    def metrics(self, path: Path) -> tuple[Record, ...]:
        """The numbers of each line that says at which step it was written."""
        found: list[Record] = []
        bad: list[int] = []
        for number, line in enumerate(self._lines(path), 1):
            try:
                record = {
                    key: float(value)
                    for key, value in json.loads(line).items()
                    if isinstance(value, (int, float))
                }
            except (ValueError, AttributeError, OverflowError, RecursionError):
                bad.append(number)
                continue
            if "step" in record and abs(record["step"]) < 1e15:
                found.append(record)
            else:
                bad.append(number)
        self._say_lines(path, bad)
        return tuple(found)

    def recipe(self) -> Recipe | None:
        if not self.run.recipe_file.exists():
            return None
        try:
            return self.run.recipe()
        except ApplianceError as error:
            self.damaged.append(error.what.replace(f"{self.run.root}/", ""))
            return None

    def text(self, path: Path) -> str:
        return (self._bytes(path) or b"").decode(errors="replace")

    def _bytes(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say(path, f"cannot be read ({error.strerror})")
            return None

    def _lines(self, path: Path) -> Sequence[bytes]:
        return (self._bytes(path) or b"").split(b"\n")[:-1]

    def _say_lines(self, path: Path, bad: list[int]) -> None:
        if bad:
            several = len(bad) > 1
            first = ", ".join(map(str, bad[:3])) + (", …" if len(bad) > 3 else "")
            self._say(
                path,
                f"is damaged: {len(bad)} line{'s' if several else ''} cannot be read ({first})",
            )

    def _say(self, path: Path, what: str) -> None:
        self.damaged.append(f"{path.relative_to(self.run.root)} {what}.")


def _first(error: ValidationError) -> str:
    """`task.value: Input should be a valid number`."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])
