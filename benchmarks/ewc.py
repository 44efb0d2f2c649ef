"""What elastic weight consolidation adds to a step: `python benchmarks/ewc.py`.

Trains the embedded model on rows of random tokens (only their number matters here), steps with
and without in turn, in this process and on the threads that torch is given (OMP_NUM_THREADS).
Processor seconds are what a step costs; wall seconds also tell how busy the machine was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ROWS, TOKENS, ANSWER = 16, 50, 16


def rows(count: int, vocabulary: int, seed: int) -> list[Any]:
    from appliance.model.chat import IGNORE, Encoded

    draw = random.Random(seed)
    made = []
    for _ in range(count):
        ids = [draw.randrange(100, vocabulary) for _ in range(TOKENS)]
        made.append(Encoded(ids, [IGNORE] * (TOKENS - ANSWER) + ids[-ANSWER:], False))
    return made


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """(processor seconds, wall seconds) of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - processor, time.perf_counter() - wall


def measured(steps: int, dialogues: int) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT))
    from appliance.model import adapter, backend
    from appliance.model.likelihood import bearing_logprobs, block
    from appliance.model.load import open_model
    from appliance.sections import ModelSection

    loaded = open_model(ModelSection())
    adapter.attach(loaded, r=16, alpha=16, dropout=0.0, target_modules=LAYERS, seed=1)
    from appliance.train.ewc import Ewc

    torch = backend.torch()
    vocabulary = len(loaded.tokenizer)
    found: list[Any] = []
    general = rows(dialogues, vocabulary, 2)
    estimated = timed(lambda: found.append(Ewc.estimate(loaded, general, strength=1.0, seed=1)))
    ewc = found[0]
    loaded.model.train()
    parameters = [p for p in loaded.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, fused=True)
    inputs, labels = block(rows(ROWS, vocabulary, 3), loaded.tokenizer)

    def step(with_ewc: bool) -> None:
        logprobs, _, target = bearing_logprobs(loaded.model, inputs, labels)
        (-logprobs.gather(-1, target[:, None]).mean()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if with_ewc:
            ewc.on_pre_optimizer_step(None, None, None)
        optimizer.step()
        optimizer.zero_grad()

    step(True)  # the first one allocates
    # In turn, so that both meet the same neighbours on the machine.
    times = [(timed(lambda: step(False)), timed(lambda: step(True))) for _ in range(steps)]
    alone = [timed(ewc.add_gradients) for _ in range(steps)]
    plain, more = (median(t[i][0] for t in times) for i in (0, 1))
    return {
        "threads": torch.get_num_threads(),
        "rows_and_tokens": [ROWS, TOKENS],
        "steps_each": steps,
        "step_processor_seconds": round(plain, 3),
        "step_processor_seconds_with_ewc": round(more, 3),
        "step_wall_seconds": round(median(t[0][1] for t in times), 3),
        "step_wall_seconds_with_ewc": round(median(t[1][1] for t in times), 3),
        "ewc_alone_processor_seconds": round(median(a[0] for a in alone), 4),
        "share_of_step": round(median(a[0] for a in alone) / plain, 4),
        "factors_mib": round(
            sum(t.nbytes for layer in ewc.layers for t in (layer.inputs, layer.gradients)) / 2**20
        ),
        "estimation_processor_seconds": round(estimated[0], 1),
        "estimation_wall_seconds": round(estimated[1], 1),
        "estimated_on": ewc.facts(),
        "versions": {k: v for k, v in backend.versions().items() if k in ("torch", "unsloth")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=10, help="of each kind")
    parser.add_argument("--dialogues", type=int, default=64)
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core {os.uname().machine}")
    parser.add_argument("--note", default="")
    asked = parser.parse_args()
    result = {
        "what": "elastic weight consolidation beside a training step of the embedded model",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": asked.machine,
        "note": asked.note,
        **measured(asked.steps, asked.dialogues),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    (RESULTS / "ewc.json").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
