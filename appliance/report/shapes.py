"""The forms of a run's files, as far as a page shows them.

What a file holds beyond them is passed over, and what an older one lacks has a default. A wrong
type is a ValidationError, which `read.py` turns into a sentence. A number that is none (a diverged
training writes NaN) is None.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Value = Annotated[float | None, BeforeValidator(_finite)]


class Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Figure(Shape):
    """A number with its 95 % interval (low, high) and n; None where nothing was measured."""

    value: Value = None
    interval: tuple[float, float] | None = None
    n: int = 0

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, found: Any) -> Any:
        """An interval of a number that is none, or with such an end, is none."""
        if isinstance(found, dict) and isinstance(found.get("interval"), (list, tuple)):
            ends = [_finite(end) for end in found["interval"]]
            if None in ends or _finite(found.get("value")) is None:
                return {**found, "interval": None}
        return found


class Task(Figure):
    """The score on the held-out rows; of preference pairs also what DPO moves."""

    metric: str = "score"
    asked: int = 0
    cut: int = 0
    errors: int = 0
    loss: Value = None
    reward_margin: Figure | None = None
    chosen_likelier: Figure | None = None
    chosen_logp: Figure | None = None
    rejected_logp: Figure | None = None


class Leak(Figure):
    style: str = ""


class Axis(Figure):
    version: str = ""
    asked: int = 0
    chance: float = 0.0
    apart: dict[str, int] = {}


class Drift(Figure):
    """KL(base || tuned), and the loss on the base's own answers: nats per token."""

    loss: Value = None


class Recitation(Figure):
    control: Figure = Figure()
    not_measured: str = ""


class Memorization(Shape):
    recitation: Recitation = Recitation()
    loss_gap: Figure = Figure()


class Benchmark(Shape):
    n: int = 0
    metrics: dict[str, Figure] = {}


class Way(Figure):
    """One way of asking that needs no training."""

    tokens: Value = None
    shown: Value = None
    why: str = ""


class Recommendation(Shape):
    text: str = ""
    reasons: tuple[str, ...] = ()


class Alternatives(Shape):
    """What the base does without training, beside the tuned model; advice.json is one too."""

    metric: str = "score"
    model: str = ""
    why: str = ""
    ways: dict[str, Way] = {}
    tuned: Figure | None = None
    recommendation: Recommendation | None = None


class Comparison(Shape):
    text: str = ""


class RealWorld(Figure):
    comparison: Comparison | None = None


class Scores(Shape):
    """scores_before.json, scores_after.json, scores_after_dial.json."""

    task: Task
    habit_leak: Leak
    axes: dict[str, Axis]
    drift: Drift
    memorization: Memorization = Memorization()
    benchmarks: dict[str, Benchmark] = {}
    real_world: RealWorld | None = None
    alternatives: Alternatives = Alternatives()


class Reason(Figure):
    """One check of the gate. `value` is the difference to the base, but for the drift."""

    name: str
    passed: Literal["yes", "no", "unclear", "invalid", "not measured"]
    limit: float
    text: str


class Lost(Shape):
    """An item that was right before and is not after."""

    prompt: str
    before: str
    after: str


class Verdict(Shape):
    ship: Literal["yes", "no"]
    preset: str = ""
    reasons: tuple[Reason, ...]
    examples: dict[str, tuple[Lost, ...]] = {}


class DialPoint(Shape):
    strength: float
    ship: Literal["yes", "no"]
    whole: bool = True
    task: Figure
    habit_leak: Figure = Figure()
    drift: Figure = Figure()
    axes: dict[str, Figure] = {}


class Dial(Shape):
    tried: tuple[DialPoint, ...] = ()
    chosen: Value = None
    verdict: Verdict | None = None


class Source(Shape):
    """General rows of one source, as they were mixed in."""

    rows: int = 0
    taken: int = 0
    used: int = 0
    repeated: int = 0
    tokens: int = 0


class Rehearsed(Shape):
    rows: int = 0
    tokens: int = 0


class Training(Shape):
    """train/train.json."""

    rows: int
    tokens: int
    steps: int
    seconds: float
    tokens_per_second: Value = None
    share_bearing_loss: Value = None
    rows_cut: int = 0
    rows_without_answer_after_cut: int = 0
    peak_memory_gib: Value = None
    held_out_loss: Value = None
    best_step: int | None = None
    stopped_early: bool = False
    stopped_by_alarm: str | None = None
    rehearsal_sources: dict[str, Source] = {}
    rehearsed: Rehearsed | None = None


class General(Shape):
    """One source of general dialogues, as it was read or written."""

    rows: int = 0
    left_out_as_near_the_task: int = 0


class Rehearsal(Shape):
    rows: int = 0
    sources: dict[str, General] = {}


class Check(Shape):
    """One claim of an exported form. `holds` None: it could not be measured."""

    form: str
    name: str
    holds: bool | None
    text: str


class Proof(Shape):
    strength: Value = None
    holds: bool
    checks: tuple[Check, ...] = ()


class Export(Shape):
    time: str = ""
    strength: Value = None
    forced: bool = False
    forms: dict[str, str] = {}


class Price(Shape):
    """What an hour of the machine costs."""

    per_hour: float = Field(gt=0, allow_inf_nan=False)
    currency: str = "USD"
    source: str = "the run's manifest"


class Event(Shape):
    time: str = ""
    kind: str
    text: str
    name: str | None = None
    action: str | None = None
    step: Value = None
    steps: Value = None
    begun: Value = None
    exit: int | None = None
    seconds: Value = None


class Item(Shape):
    """One question and what was said: a line of answers_*.jsonl, whichever probe asked it."""

    probe: str
    axis: str = ""
    id: str = ""
    part: str = ""
    of: str = ""
    prompt: str = ""
    given: str = ""
    expected: str = ""
    answer: str = ""
    score: Value = None
    leak: bool | None = None
    error: str = ""
    recited: bool | None = None
    run: int = 0
    words: int = 0
    code: str = ""
    said: bool | None = None
    chosen_logp: Value = None
    rejected_logp: Value = None
