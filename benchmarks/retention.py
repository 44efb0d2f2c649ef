"""What each remedy keeps, for what gain and time: `python benchmarks/retention.py`, or some tasks.

Every task goes through `appliance ablate`'s own arms, and the same command goes on where it was
stopped. Writes benchmarks/results/retention-<task>.json and prints the tables as Markdown.

banking77  20 intents, 800 rows, 150 held-out rows; the answer is the intent's name
demo       the embedded demo; the answer is a short generated form
hh         DPO on 200 pairs of hh-rlhf's harmless part
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path("../shared/data")  # beside the checkout; not part of it
RESULTS = ROOT / "benchmarks" / "results"
ARMS = "plain,documented,low_rate,rehearsal,ewc,default"


@dataclass(frozen=True)
class Task:
    recipe: str
    arms: str
    needs: tuple[Path, ...]
    sets: Callable[[Path], list[str]]  # the overrides; may write its rows into the folder


def banking77(folder: Path) -> list[str]:
    """The rows of 20 of the 77 intents, drawn once for all, as train.csv and test.csv."""
    read = {
        name: list(csv.DictReader((SHARED / "banking77" / f"{name}.csv").open(encoding="utf-8")))
        for name in ("train", "test")
    }
    intents = sorted({row["category"] for row in read["train"]})
    chosen = set(random.Random(0).sample(intents, 20))
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in read.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
            table = csv.DictWriter(handle, ["text", "category"])
            table.writeheader()
            table.writerows(row for row in rows if row["category"] in chosen)
    return [
        f"data.train={folder / 'train.csv'}",
        "data.limit=800",
        "data.test_limit=150",
        *suites(),
    ]


def suites() -> list[str]:
    """What such studies usually look at, and see nothing by."""
    paths = [SHARED / "suites" / f"{name}.jsonl" for name in ("piqa", "openbookqa")]
    return [f"evaluate.benchmarks=[{','.join(map(str, paths))}]", "evaluate.benchmark_items=300"]


def hh(folder: Path) -> list[str]:
    return [f"data.train={SHARED / 'hh-harmless' / 'pairs.jsonl.gz'}", "data.limit=200"]


TASKS = {
    "banking77": Task("sft", ARMS, (SHARED / "banking77" / "train.csv",), banking77),
    "demo": Task("sft", "plain,ewc,default", (), lambda folder: ["data.train=demo"]),
    "hh": Task("dpo", "plain,default", (SHARED / "hh-harmless" / "pairs.jsonl.gz",), hh),
}


def measure(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One task through its arms: the results, with what is needed to repeat them."""
    from appliance.ablate.arms import choose
    from appliance.ablate.folder import Folder, Plan
    from appliance.ablate.work import work
    from appliance.console import console

    task = TASKS[name]
    sets = [*task.sets(asked.out / "rows" / name), *asked.sets]
    arms = choose((asked.arms or task.arms).split(","), asked.arm)
    plan = Plan.of(task.recipe, sets, arms, asked.seeds)
    folder = Folder(asked.out / name)
    started = time.monotonic()
    with folder.lock():
        folder.create(plan, asked.force)
        console.say(f"{name}: arms {', '.join(arm.name for arm in plan.arms)}")
        console.quiet(folder.log)
        found = work(folder, plan)
    return {
        "what": f"retention on {name}",
        "date": found["time"][:10],
        "note": asked.note,
        "command": shlex.join(["python", "benchmarks/retention.py", *sys.argv[1:]]),
        "wall_seconds_of_this_command": round(time.monotonic() - started),
        **found,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"{', '.join(TASKS)}; unset: all")
    parser.add_argument("--arms", help=f"unset: {ARMS} on banking77, fewer on the others")
    parser.add_argument("--arm", action="append", default=[], metavar="NAME:KEY=VALUE,...")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/retention"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    parser.add_argument("--force", action="store_true", help="go on by another plan")
    parser.add_argument("--note", default="", help="what else was so about the machine")
    asked = parser.parse_args()
    if unknown := set(asked.tasks) - set(TASKS):
        parser.error(f"no task {', '.join(sorted(unknown))}: there are {', '.join(TASKS)}")
    return asked


def main() -> int:
    asked = arguments()
    os.chdir(ROOT)  # so that what is written names files as a clone has them
    sys.path.insert(0, str(ROOT))
    from appliance.ablate.table import text
    from appliance.console import console
    from appliance.disk import write_json
    from appliance.errors import ApplianceError

    absent = 0
    for name in asked.tasks or TASKS:
        missing = [path for path in TASKS[name].needs if not path.is_file()]
        if missing:
            console.say(f"{name} is NOT measured: {missing[0]} (from the checkout) is absent.")
            absent += 1
            continue
        try:
            result = measure(name, asked)
        except ApplianceError as error:
            console.say(f"error: {error}")
            return error.exit_code
        write_json(asked.results / f"retention-{name}.json", result)
        console.result(f"\n## {name}\n\n{text(result)}\n")
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
