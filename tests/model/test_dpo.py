"""DPO on the real small model, with a rate high enough to see it learn in three steps."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers import kill_often

from appliance.run import RunDir

pytestmark = pytest.mark.model


def test_reward_accuracy_and_margin_are_measured_before_and_after(dpo_run):
    before = json.loads((dpo_run / "scores_before.json").read_text())["task"]
    after = json.loads((dpo_run / "scores_after.json").read_text())["task"]
    assert before["metric"] == "reward_accuracy"
    assert before["value"] == 0.5  # the base prefers neither to itself
    assert before["reward_margin"]["value"] == 0.0
    assert after["reward_margin"]["value"] > 0
    assert after["n"] == 8


def test_the_trainer_and_the_probe_agree_on_the_direction(dpo_run):
    rows = [json.loads(line) for line in (dpo_run / "train" / "metrics.jsonl").open()]
    margins = [row["rewards/margins"] for row in rows if "rewards/margins" in row]
    assert margins[0] == pytest.approx(0.0, abs=1e-6)  # reference = adapter off
    assert margins[-1] > 0


def test_the_sft_alarm_does_not_rise_on_a_dpo_loss(dpo_run):
    assert '"loss_under"' not in (dpo_run / "events.jsonl").read_text()


def test_the_merged_model_is_there(dpo_run):
    assert (dpo_run / "export" / "merged" / "model.safetensors").is_file()


def test_killed_it_ends_as_if_nothing_had_been_and_keeps_the_base_as_its_reference(
    dpo_run, tmp_path
):
    run = RunDir(tmp_path / "killed")
    shutil.copytree(dpo_run, run.root)
    for folder in (run.adapter, run.metrics.parent):
        shutil.rmtree(folder)
    recipe = run.recipe()
    often = recipe.train.model_copy(update={"checkpoint_minutes": 0})
    run.create(recipe.model_copy(update={"train": often}), force=True)
    found = kill_often(run.root, 3)
    assert max(found["begun_at"]) > 0, found  # it went on from a checkpoint
    weights = "adapter_model.safetensors"
    assert (run.adapter / weights).read_bytes() == (dpo_run / "adapter" / weights).read_bytes()
    assert not [path for path in run.adapter.iterdir() if path.is_dir()]
