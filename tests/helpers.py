"""What the tests of several folders share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def appliance(*arguments: str, cwd: Path = ROOT, env: dict[str, str] | None = None):
    """The command line as a user runs it: its exit code, stdout and stderr."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=900,
    )


# Of their right form; no service knows them.
SECRETS = {"HF_TOKEN": "hf_" + "madeUpForThisTest" * 2, "WANDB_API_KEY": "0badc0de" * 5}
# A run of a few steps learns nothing that a gate would pass, and need not be asked all items.
UNJUDGED = ("evaluate.suites=[]", "policy.action=warn", "policy.dial=never")


def sets(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


def up_to(run: Path, last: str, *overrides: str) -> None:
    """The stages of a new run up to `last`, in a process of their own."""
    program = (
        "import sys; from appliance import pipeline; from appliance.recipe import load;"
        "from appliance.run import RunDir;"
        "run, recipe = RunDir(sys.argv[1]), load('sft', sys.argv[3:]);"
        "run.create(recipe); pipeline.go(run, recipe, pipeline.Order(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(run), last, *overrides],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=900,
        capture_output=True,
    )  # fmt: skip


def kill_often(run: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Train a prepared run by tests/kill_often.py, which says what it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "kill_often.py"), str(run), str(kills), str(seed)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def furthest_from_greedy(loaded, prompt, answer):
    """By how many nats a token of the answer is less likely than the likeliest, at most."""
    import torch

    loaded.model.eval()
    with torch.no_grad():
        ids = torch.tensor([prompt + answer[:-1]])
        found = loaded.model(input_ids=ids).logits[0, len(prompt) - 1 :].float().log_softmax(-1)
    chosen = found.gather(-1, torch.tensor(answer)[:, None])[:, 0]
    return float((found.max(-1).values - chosen).max())


def in_fp32():
    """The base in fp32, where sums in another order differ in the sixth place, not the second."""
    from appliance.model import dense
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    loaded = open_model(ModelSection(bits=16))
    dense.let_go(loaded.model)
    dense.hold(loaded.model.float())
    return loaded
