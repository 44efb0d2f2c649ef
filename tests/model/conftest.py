"""The real small model, trained for a few steps once for all tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import ROOT, UNJUDGED, appliance, sets

SMALL = (
    "data.limit=64", "data.test_limit=12", "train.max_steps=4", "train.evaluations=1",
    "evaluate.answer_tokens=24", "rehearsal.self=true", "rehearsal.dialogues=8", *UNJUDGED,
)  # fmt: skip


@pytest.fixture(scope="session")
def off_task(tmp_path_factory) -> Path:
    """Six off-task prompts: enough to see a difference, few enough for a test."""
    suite = ROOT / "appliance" / "evaluate" / "suites" / "off_task.jsonl"
    path = tmp_path_factory.mktemp("suite") / "six.jsonl"
    path.write_text("\n".join(suite.read_text().splitlines()[::11]) + "\n")
    return path


@pytest.fixture(scope="session")
def sft_run(tmp_path_factory, off_task) -> Path:
    """`appliance train` on the demo, four steps, W&B offline, an alarm set to rise."""
    run = tmp_path_factory.mktemp("sft") / "run"
    done = appliance(
        "train", "--run", str(run), "--json",
        *sets(*SMALL, f"evaluate.off_task={off_task}", "alarm.loss_under=50", "alarm.drift=0",
              "wandb.mode=offline"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)  # nothing but the summary came to stdout
    return run


@pytest.fixture(scope="session")
def dpo_run(tmp_path_factory, off_task) -> Path:
    run = tmp_path_factory.mktemp("dpo") / "run"
    done = appliance(
        "train", "dpo", "--run", str(run),
        *sets("data.limit=40", "data.test_limit=8", "train.max_steps=3", "train.learning_rate=1e-3",
              "train.batch_size=8", "train.evaluations=0", "evaluate.answer_tokens=24",
              f"evaluate.off_task={off_task}", "alarm.loss_under=5", "rehearsal.dialogues=8",
              *UNJUDGED),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return run
