"""report.json: the numbers of the page, for a machine. Nothing in it is not on the page."""

from __future__ import annotations

import math
from typing import Any

from appliance.report import plots, plots_data, words
from appliance.report.read import Reading
from appliance.report.thin import Points, thin
from appliance.run import now

VERSION = 1
SERIES = (
    "held_out_loss", "drift", "memory_gib", "rewards/margins", "rewards/accuracies",
    "logps/chosen", "logps/rejected",
)  # fmt: skip


def numbers(reading: Reading) -> dict[str, Any]:
    """Figures as {"value", "interval", "n"}; None where nothing was measured."""
    ship, sentence = words.may_ship(reading)
    before, after = reading.before, reading.after
    drawn = {"loss": plots.task_loss(reading)} | {key: reading.series(key) for key in SERIES}
    return {
        "version": VERSION,
        "time": now(),
        "run": reading.name,
        "state": vars(reading.state),
        "absent": reading.absent,
        "damaged": reading.damaged,
        "ship": {"may": ship, "text": sentence, "strength": _strength(reading)},
        "reasons": [r.model_dump() for r in reading.verdict.reasons] if reading.verdict else [],
        "before": before.model_dump() if before else None,
        "after": after.model_dump() if after else None,
        "dial": reading.dial.model_dump(exclude={"verdict"}) if reading.dial else None,
        "training": reading.training.model_dump() if reading.training else None,
        "alarms": [{"name": a.name, "step": a.step, "text": a.text} for a in reading.alarms],
        "mixture": [
            {"name": name, "rows": rows, "tokens": tokens}
            for name, rows, tokens in plots_data.mixed(reading)
        ],
        "seconds": reading.seconds,
        "price": reading.price.model_dump() if reading.price else None,
        "changed": reading.changed,
        "series": {key: _series(points) for key, points in drawn.items() if points},
    }


def _strength(reading: Reading) -> float | None:
    """At which it was exported; where it was not, the one that passes."""
    if reading.export:
        return reading.export.strength
    return reading.dial.chosen if reading.dial else None


def _series(points: Points) -> dict[str, list[float | None]]:
    """As it is drawn; a mean that is no number is None."""
    found = thin(points)
    return {"step": list(found.x), "mean": [y if math.isfinite(y) else None for y in found.mean]}
