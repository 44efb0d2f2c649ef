"""The train stage's peak beside what `plan` reckons: `python benchmarks/memory.py`.

Each setting is a training of three steps of the embedded model, in a process of its own that does
nothing else; its peak is what the system says (VmHWM), pages of mapped files included. The
rows are the demo's, or several of them in one, which makes long ones. The base's dialogues are
written once, by the first setting. Some minutes on 2 cores; results/memory.json is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
sys.path.insert(0, str(ROOT))
ROWS = 96
# name -> (rows of the demo in one, overrides)
SETTINGS: dict[str, tuple[int, list[str]]] = {
    "the default": (1, []),
    "rows of 150 tokens": (4, []),
    "rows of 340 tokens": (12, []),
    "r=128": (4, ["adapter.r=128"]),
    "one row at once": (4, ["train.micro_batch=1"]),
    "activations computed again": (12, ["train.gradient_checkpointing=true"]),
    "16 bit": (1, ["model.bits=16"]),
    "pairs (DPO)": (4, ["method=dpo", "train.learning_rate=5e-6"]),
}
STEPS = ["train.max_steps=3", "train.evaluations=1", "wandb.mode=off"]


def prepare(folder: Path) -> None:
    """What the stages before leave of the demo: rows, dialogues, answers of the base."""
    from appliance import pipeline
    from appliance.recipe import load
    from appliance.run import RunDir

    run, recipe = RunDir(folder), load("sft")
    run.create(recipe)
    pipeline.data(run, recipe)
    pipeline.rehearse(run, recipe)
    said = [json.loads(line) for line in run.rehearsal_rows.read_text().splitlines()[:64]]
    answers = [
        {"id": str(i), "prompt": d["messages"][0]["content"],
         "answer": d["messages"][1]["content"], "cut": d["cut"]}
        for i, d in enumerate(said)
    ]  # fmt: skip
    run.base_answers.write_text("".join(json.dumps(answer) + "\n" for answer in answers))


def lengthen(folder: Path, times: int, pairs: bool) -> None:
    """ROWS rows, each asking `times` of the demo's questions at once; `pairs`: with two answers."""
    for name in ("train", "valid"):
        path = folder / "data" / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        asked = [row["messages"][0]["content"] for row in rows]
        for i, row in enumerate(rows):
            some = [asked[(i * times + j) % len(asked)] for j in range(times)]
            row["messages"][0]["content"] = " ".join(some)
            if pairs:
                *prompt, chosen = row.pop("messages")
                other = {"role": "assistant", "content": "queue=none; blocked=nobody"}
                row |= {"prompt": prompt, "chosen": [chosen], "rejected": [other]}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[:ROWS]))


def train(folder: Path, sets: list[str]) -> dict[str, Any]:
    """In the process of its own: the peak in GiB."""
    from appliance.memory import resident_peak
    from appliance.recipe import load
    from appliance.run import RunDir
    from appliance.train.skeleton import train as work

    work(RunDir(folder), load("sft", [*STEPS, *sets]))
    return {"peak": resident_peak() / 2**30}


def planned(folder: Path, sets: list[str]) -> Any:
    from appliance import plan
    from appliance.recipe import load
    from appliance.run import RunDir

    found = plan.of_run(RunDir(folder), load("sft", [*STEPS, *sets]))
    return replace(found, said=())


def measure(name: str, prepared: Path, folder: Path) -> dict[str, Any]:
    times, sets = SETTINGS[name]
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(prepared, run)
    lengthen(run, times, "method=dpo" in sets)
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(run), *sets],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    peak = json.loads(done.stdout.splitlines()[-1])["peak"]
    plan = planned(run, sets)
    needed = plan.needed / 2**30
    found = {
        "setting": name, "overrides": sets, "longest": plan.rows.longest,
        "rows_at_once": plan.setting.rows, "measured_gib": round(peak, 2),
        "planned_gib": round(needed, 2), "off": round(needed / peak - 1, 3),
        "parts_gib": {part: round(size / 2**30, 3) for part, size in plan.memory.items()},
    }  # fmt: skip
    print({key: found[key] for key in ("setting", "measured_gib", "planned_gib", "off")},
          file=sys.stderr, flush=True)  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs="+")
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.child:
        print("\n" + json.dumps(train(Path(asked.child[0]), asked.child[1:])))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as made:
        prepared = Path(made) / "prepared"
        prepare(prepared)
        found = [measure(name, prepared, Path(made)) for name in asked.only]
    cores = f"{len(os.sched_getaffinity(0))} cores"
    results = {
        "command": "python benchmarks/memory.py",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{cores}, {platform.machine()}",
        "largest_off": max(abs(f["off"]) for f in found),
        "settings": found,
    }
    if asked.only == list(SETTINGS):
        (RESULTS / "memory.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
