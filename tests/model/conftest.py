"""The real small model, trained for a few steps once for all tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from helpers import ROOT, SECRETS, UNJUDGED, appliance, sets

SMALL = (
    "data.limit=64", "data.test_limit=12", "train.max_steps=4", "train.evaluations=1",
    "train.batch_size=16",
    "evaluate.answer_tokens=24", "rehearsal.self=true", "rehearsal.dialogues=8", *UNJUDGED,
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, help="In test_resume: how many.")


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id) -> Path:
    """A folder that all test processes see."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def off_task(shared) -> Path:
    """Six off-task prompts: enough to see a difference, few enough for a test."""
    suite = ROOT / "appliance" / "evaluate" / "suites" / "off_task.jsonl"
    path = shared / "six.jsonl"
    with FileLock(shared / "six.lock"):
        path.write_text("\n".join(suite.read_text().splitlines()[::11]) + "\n")
    return path


@pytest.fixture(scope="session")
def once(shared) -> Callable[[str, Callable[[Path], None]], Path]:
    """A run directory made by the first of the test processes that asks for it, for all of them."""

    def make(name: str, train: Callable[[Path], None]) -> Path:
        run, whole = shared / name / "run", shared / name / "whole"
        with FileLock(shared / f"{name}.lock"):
            if not whole.exists():
                train(run)
                whole.touch()
        return run

    return make


@pytest.fixture(scope="session")
def sft_run(once, off_task) -> Path:
    """`appliance train` on the demo, four steps; W&B offline, tokens set, an alarm set to rise."""

    def train(run: Path) -> None:
        done = appliance(
            "train", "--run", str(run), "--json",
            *sets(*SMALL, f"evaluate.off_task={off_task}", "alarm.loss_under=50", "alarm.drift=0",
                  "wandb.mode=offline"),
            env=SECRETS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
        json.loads(done.stdout)  # nothing but the summary came to stdout

    return once("sft", train)


@pytest.fixture(scope="session")
def dpo_run(once, off_task) -> Path:
    def train(run: Path) -> None:
        done = appliance(
            "train", "dpo", "--run", str(run),
            *sets("data.limit=40", "data.test_limit=8", "train.max_steps=3",
                  "train.learning_rate=1e-3", "train.batch_size=8", "train.evaluations=0",
                  "evaluate.answer_tokens=24", f"evaluate.off_task={off_task}",
                  "alarm.loss_under=5", "rehearsal.dialogues=8", *UNJUDGED),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return once("dpo", train)
