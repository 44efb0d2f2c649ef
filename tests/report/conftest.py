"""Pages of runs of every kind, and the browser that opens them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from report_runs import HOSTILE, begun, metrics, whole

from appliance.report.page import write
from appliance.run import RunDir

# Without the last ones it looks for hosts at every start.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped without one, unless APPLIANCE_CHROMIUM=required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("APPLIANCE_CHROMIUM") == "required":
            pytest.fail("Chromium is not installed.")
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as library:
        opened = library.chromium.launch(executable_path=found, args=list(FLAGS))
        yield opened
        opened.close()


def _refused(root: Path) -> RunDir:
    run = whole(root, kept=0.3, chosen=None)
    run.event("begins", "export")
    run.event("refused", "The verdict is no, at every strength that was tried.")
    run.event("error", "The verdict is no, at every strength that was tried.")
    return run


def _dying(root: Path) -> RunDir:
    run = begun(root)
    metrics(run, 40, every=10)
    return run


def _damaged(root: Path) -> RunDir:
    """Nearly every file is cut, strange or gone."""
    run = whole(root)
    run.verdict.write_text('{"ship": "perhaps"}')
    run.scores_after.write_text(run.scores_after.read_text()[:2000])
    run.audit.write_text("[]")
    run.manifest.unlink()
    run.recipe_file.write_text("method: [")
    run.train_facts.write_text("\0\1")
    run.metrics.write_text('{"step": 1, "loss": NaN}\n{"step": 2}\nnone\n{"step": 3, "loss"')
    return run


def _long(root: Path) -> RunDir:
    run = begun(root)
    metrics(run, 100_000, every=25_000)
    return run


MAKERS = {
    "sft": whole,
    "dpo": lambda root: whole(root, "dpo", steps=120),
    "dialled": lambda root: whole(root, kept=0.3, chosen=0.4),
    "refused": _refused,
    "dying": _dying,
    "damaged": _damaged,
    "hostile": lambda root: whole(root, "sft", HOSTILE),
    "long": _long,
}


class Made(dict[str, RunDir]):
    """Each run with its page, made when it is first asked for; `live` is held by a process."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __missing__(self, kind: str) -> RunDir:
        run = self[kind] = MAKERS.get(kind, _dying)(self.root / kind)
        with run.lock() if kind == "live" else nullcontext():
            write(run)
        return run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("runs"))
