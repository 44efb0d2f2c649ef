"""Standard benchmarks, by lm-evaluation-harness on the model that is loaded.

A benchmark is one of the harness's tasks by name (the hub has its data), or a JSONL file of
multiple-choice items:

    {"question": "Where do bees live?", "choices": ["in a hive", "in a nest"], "answer": 0}

`answer` is the place of the right choice, from 0; other fields are left alone. They are asked as
published figures are: without the chat template, so they see what the weights know and not how the
model behaves as an assistant. An item of a file is asked as `Question: ...`, then `Answer:`, and
scored by the harness's `acc` (the likeliest choice) and `acc_norm` (likeliest for its length).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import DataError
from appliance.evaluate import harness
from appliance.model.load import Loaded

Z = 1.96  # of the normal distribution, at 95 %
SHAPE = 'An item is {"question": "...", "choices": ["...", "..."], "answer": 0}.'


def benchmarks(loaded: Loaded, names: Sequence[str], limit: int | None = None) -> dict[str, Any]:
    """Scores by benchmark: of a task its name, of a file its stem, of a group its tasks too.

    `limit`: the first so many items of each task (of a group: of each of its tasks), so that they
    are the same before and after. Each has `n`, `version` (the harness's, or the digest of a file),
    `shots` and `metrics`: value and stderr as the harness computes them, `interval` (95 %, value
    plus or minus 1.96 stderr) and, where it is a mean over the items, `items` in their order.
    Raises DataError for an unknown name, a wrong item, and data that cannot be had.
    """
    files = {name: read(name) for name in dict.fromkeys(names) if is_file(name)}
    stems = [Path(name).stem for name in files]
    asked = stems + [name for name in dict.fromkeys(names) if name not in files]
    twice = [name for name in asked if asked.count(name) > 1]
    if twice:
        raise DataError(
            f"evaluate.benchmarks: two of them are called {twice[0]}.", "Rename one of the files."
        )
    if not asked:
        return {}
    local = {Path(name).stem: items for name, items in files.items()}
    found = harness.run(loaded, local, asked[len(files) :], limit)
    scores = {name: _scores(name, found) for name in found["results"]}
    for name in files:
        digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        scores[Path(name).stem]["version"] = digest[:12]
    return scores


def is_file(name: str) -> bool:
    """Is this the name of a file, not of a task? No task's name ends so."""
    return name.endswith((".jsonl", ".json")) or Path(name).is_file()


def read(name: str) -> list[dict[str, Any]]:
    """The items of a file, with the three fields alone. Raises DataError naming the line."""
    path = Path(name)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"evaluate.benchmarks: {name} cannot be read.",
            "Name a JSONL file of `question`, `choices`, `answer`, or a task of "
            "lm-evaluation-harness.",
        ) from error
    items = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except ValueError:
            item = None
        wrong = _fault(item)
        if wrong:
            raise DataError(f"{path}, line {number}: {wrong}.", SHAPE)
        items.append({key: item[key] for key in ("question", "choices", "answer")})
    if not items:
        raise DataError(f"{path} is empty.", "Give at least one item, or leave the file out.")
    return items


def _fault(item: Any) -> str:
    """What is wrong with an item, or ""."""
    if not isinstance(item, Mapping):
        return "it is no JSON object"
    question, choices, answer = (item.get(key) for key in ("question", "choices", "answer"))
    if not isinstance(question, str) or not question.strip():
        return "`question` is not a text"
    if not isinstance(choices, list) or len(choices) < 2:
        return "`choices` is not a list of at least two texts"
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        return "one of `choices` is not a text"
    if not isinstance(answer, int) or isinstance(answer, bool):
        return "`answer` is not a whole number"
    if answer not in range(len(choices)):
        return f"`answer` is {answer}, the place of none of the {len(choices)} choices, from 0"
    return ""


def _scores(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The harness's results of one task or group, in the form of the other scores."""
    results = found["results"][name]
    samples = found["samples"].get(name, [])
    metrics: dict[str, Any] = {}
    for key, value in results.items():
        # `metric,filter`, and beside it `metric_stderr,filter`; the filter says what was read.
        metric, comma, which = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
            continue
        mine = [sample.get(metric) for sample in samples if sample["filter"] == which]
        items = _items(mine, float(value))
        metrics[metric if which == "none" else key] = {
            "value": float(value),
            **_spread(float(value), results.get(f"{metric}_stderr,{which}"), items),
            **items,
        }
    parts = found["group_subtasks"].get(name, [])
    return {
        "n": _size(name, found),
        "version": str(found["versions"].get(name, "")),
        "shots": found["n-shot"].get(name, 0),
        "metrics": metrics,
        **({"parts": list(parts)} if parts else {}),
    }


def _spread(value: float, stderr: Any, items: Mapping[str, list[float]]) -> dict[str, Any]:
    """The standard error, and the interval; that of a share ends at 0 and 1."""
    if not isinstance(stderr, (int, float)):  # of one item alone there is none
        return {"stderr": None, "interval": None}
    low, high = value - Z * stderr, value + Z * stderr
    if items and all(0 <= item <= 1 for item in items["items"]):
        low, high = max(low, 0.0), min(high, 1.0)
    return {"stderr": float(stderr), "interval": [low, high]}


def _items(values: Sequence[Any], mean: float) -> dict[str, Any]:
    """One number for each item, where the value is their mean (a perplexity or F1 is not)."""
    if not values or not all(isinstance(value, (int, float)) for value in values):
        return {}
    if abs(sum(values) / len(values) - mean) > 1e-6:
        return {}
    return {"items": [float(value) for value in values]}


def _size(name: str, found: Mapping[str, Any]) -> int:
    """Items that were asked; of a group those of all its tasks."""
    parts = found["group_subtasks"].get(name)
    if parts:
        return sum(_size(part, found) for part in parts)
    return int(found["n-samples"].get(name, {}).get("effective", 0))
