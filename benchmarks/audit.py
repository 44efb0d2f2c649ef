"""How long an audit takes and how much memory: `python benchmarks/audit.py --rows 1000000`.

Writes synthetic rows of about 200 tokens (words as frequent as those of a real
language; 1 % exact duplicates, 1 % near duplicates, 0.5 % contradictions, 0.1 % secrets), audits
them in a process of its own, and keeps time, processor time and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
PROMPT, ANSWER = (60, 100), (30, 70)
SHARES = {"exact": 0.01, "near": 0.01, "contradiction": 0.005, "secret": 0.001}


def language(draw: random.Random, size: int = 30_000) -> tuple[list[str], list[float]]:
    """Words and how often each is used (Zipf): real ones from our own texts, then made-up ones."""
    seen: Counter[str] = Counter()
    for name in ("data/demo/train.jsonl", "evaluate/suites/off_task.jsonl"):
        seen.update(re.findall(r"[a-z]+", (ROOT / "appliance" / name).read_text().lower()))
    words = dict.fromkeys(word for word, _ in seen.most_common())
    starts, vowels = [*"bcdfghjklmnprstvw", "st", "tr", "pl", "ch", "sh"], [*"aeiou", "ea", "ou"]
    while len(words) < size:
        word = "".join(
            draw.choice(starts) + draw.choice(vowels) for _ in range(draw.choice((2, 3)))
        )
        words.setdefault(word + draw.choice(("", "n", "s", "t", "r")))
    return list(words), list(accumulate(1 / (rank + 3) for rank in range(size)))


def rows(count: int, seed: int = 7) -> Iterator[dict[str, str]]:
    draw = random.Random(seed)
    words, weights = language(draw)

    def text(least: int, most: int) -> str:
        return " ".join(draw.choices(words, cum_weights=weights, k=draw.randint(least, most)))

    recent: list[dict[str, str]] = []
    for _ in range(count):
        row = {"prompt": text(*PROMPT) + "?", "completion": text(*ANSWER) + "."}
        chance = draw.random()
        if recent and chance < SHARES["exact"]:
            row = dict(draw.choice(recent))
        elif recent and chance < SHARES["exact"] + SHARES["near"]:
            row = dict(draw.choice(recent))
            own = row["prompt"].split()
            for _ in range(3):
                own[draw.randrange(len(own))] = draw.choice(words)
            row["prompt"] = " ".join(own)
        elif recent and chance < 0.02 + SHARES["contradiction"]:
            row["prompt"] = draw.choice(recent)["prompt"]
        elif chance > 1 - SHARES["secret"]:
            row["completion"] += " AKIA" + "".join(draw.choices("ABCDEFGHIJKLMNOP234567", k=16))
        if len(recent) < 5000:
            recent.append(row)
        else:
            recent[draw.randrange(5000)] = row
        yield row


def write(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for row in rows(count):
            handle.write(json.dumps(row) + "\n")


def measured(path: Path) -> dict[str, Any]:
    """One audit in this process: figures and what was found."""
    sys.path.insert(0, str(ROOT))
    from appliance.data.audit.verb import audit
    from appliance.model.count import template
    from appliance.recipe import load

    recipe = load("sft", [f"data.train={path}"])
    counted = template(recipe.model)
    tokens = [total for total, _ in counted.count(_sample(path))]
    started = time.monotonic()
    found = audit(recipe, False, counted, None)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rows": found["rows"]["read"],
        "bytes": path.stat().st_size,
        "tokens_per_row": round(sum(tokens) / len(tokens)),
        "seconds": round(seconds),
        "rows_per_second": round(found["rows"]["read"] / seconds),
        "processor_seconds": round(used.ru_utime + used.ru_stime),
        "peak_memory_mib": round(used.ru_maxrss / 1024),
        "verdict": found["verdict"],
        "findings": {item["kind"]: item["rows"] for item in found["findings"]},
    }


def _sample(path: Path, count: int = 300) -> list[list[dict[str, str]]]:
    with path.open(encoding="utf-8") as handle:
        made = [json.loads(line) for line, _ in zip(handle, range(count), strict=False)]
    return [
        [{"role": "user", "content": row["prompt"]},
         {"role": "assistant", "content": row["completion"]}]
        for row in made
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core {os.uname().machine}")
    parser.add_argument("--note", default="")
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(measured(asked.only)))
        return
    with tempfile.TemporaryDirectory(prefix="audit-benchmark-") as name:
        path = Path(name) / "rows.jsonl"
        write(path, asked.rows)
        command = [sys.executable, __file__, "--only", str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = {
        "what": "audit of synthetic rows",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": asked.machine,
        "note": asked.note,
        **json.loads(done.stdout.splitlines()[-1]),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    (RESULTS / f"audit-{asked.rows}.json").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
