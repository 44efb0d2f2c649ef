"""The same command on an NVIDIA GPU. Run by hand there: `./entrypoint.sh test tests/gpu`."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers import UNJUDGED, appliance, sets

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="no NVIDIA GPU on this machine"),
]
FEW = (
    "data.limit=64",
    "data.test_limit=12",
    "train.max_steps=4",
    "evaluate.answer_tokens=24",
    *UNJUDGED,
)


@pytest.mark.parametrize("recipe", ["sft", "dpo"])
def test_the_same_command_trains_measures_and_merges_on_the_gpu(tmp_path, recipe):
    run = tmp_path / "run"
    done = appliance("train", recipe, "--run", str(run), *sets(*FEW))
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "manifest.json").read_text())["machine"]["device"] == "cuda"
    losses = [json.loads(line) for line in (run / "train" / "metrics.jsonl").open()]
    assert len([row for row in losses if "loss" in row]) == 4
    assert json.loads((run / "scores_after.json").read_text())["drift"]["value"] > 0
    assert (run / "export" / "merged" / "model.safetensors").is_file()
