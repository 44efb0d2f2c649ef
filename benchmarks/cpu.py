"""The demo's rows through four trainers on a CPU: `python benchmarks/cpu.py`, half an hour.

What they are, and what is timed, is in trainers.py. None recomputes activations, and the peers get
the whole batch at once: the fastest that they have here. Then every adapter's loss on the held-out
rows is measured by one path, and a few steps of the project are profiled. Writes
benchmarks/results/cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainers import ROOT, TRAINERS, Job, alone

RESULTS = ROOT / "benchmarks" / "results" / "cpu.json"
PEERS, OURS = ("trl", "unsloth"), ("appliance", "default")


def losses(rows: Path, adapter: Path) -> list[float]:
    """Of each held-out row, by the project's own path: nats per answer token."""
    from appliance.data.rows import read_rows
    from appliance.model.adapter import attach_saved
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection
    from appliance.train.measures import measured
    from appliance.train.sft import encode_rows

    loaded = open_model(ModelSection())
    attach_saved(loaded, adapter)
    encoded = encode_rows(loaded, read_rows(rows))
    return [found.loss / found.tokens for found in measured(loaded, encoded)]


def in_a_process(rows: Path, adapter: Path) -> list[float]:
    command = [sys.executable, __file__, "--losses", rows, adapter]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(found: dict[str, Any], held_out: dict[str, list[float]]) -> None:
    """How many times as fast as each peer, and the held-out loss less the peer's, row by row."""
    from appliance.statistics import mean, paired

    for name, one in found.items():
        one["held_out_loss"] = mean(held_out[name])
    for name in OURS:
        for peer in PEERS:
            times = found[peer]["seconds_per_step"] / found[name]["seconds_per_step"]
            found[name][f"against_{peer}"] = {
                "times_as_fast": round(times, 2),
                "held_out_loss": paired(held_out[peer], held_out[name]),
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=77, help="77: every row of the demo once")
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core {os.uname().machine}")
    parser.add_argument("--note", default="", help="what else was so about the machine")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--losses", type=Path, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.losses:
        print(json.dumps(losses(*asked.losses)))
        return

    from appliance.model.backend import versions
    from appliance.model.embedded import folder as embedded
    from appliance.pipeline import Order, go
    from appliance.recipe import load
    from appliance.run import RunDir

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows, recipe = RunDir(folder / "rows"), load("sft")
        rows.create(recipe)
        go(rows, recipe, Order(only=("data",)))

        def job(name: str, steps: int, **more: Any) -> Job:
            place = folder / ("profile" if more else name)
            return Job(name, str(place), str(embedded()), str(rows.root), steps,
                       recipe.train.batch_size, **more)  # fmt: skip

        found = {name: alone(job(name, asked.steps)) for name in TRAINERS}
        if failed := [name for name, one in found.items() if "failed" in one]:
            sys.exit(f"{', '.join(failed)} failed: what was said stands above.")
        where = alone(job("appliance", 12, profile=True))["operations"]
        held_out = {
            name: in_a_process(rows.test_rows, folder / name / "adapter") for name in TRAINERS
        }
    compared(found, held_out)
    result = {
        "what": "four trainers on the demo's rows, on a CPU",
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python benchmarks/cpu.py --steps {asked.steps}",
        "machine": asked.machine,
        "note": asked.note,
        "trainers": found,
        "where_a_step_of_appliance_goes": where,
        "versions": versions(),
    }
    text = json.dumps(result, indent=2) + "\n"
    asked.results.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
