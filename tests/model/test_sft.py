"""The main job on the real small model: the files it leaves, and what they say."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers import ROOT, SECRETS, appliance, sets

pytestmark = pytest.mark.model

# Run with plain transformers: no appliance, no unsloth, on the path.
PLAIN = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
said = []
for prompt in json.loads(sys.argv[2]):
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt",
        return_dict=True)
    out = model.generate(**inputs, max_new_tokens=60, do_sample=False)
    new = out[0, inputs["input_ids"].shape[1]:]
    said.append([tokenizer.decode(new, skip_special_tokens=True).strip(), int(new[-1])])
print(json.dumps({"said": said, "eos": tokenizer.eos_token_id, "class": type(model).__name__,
                  "appliance": "appliance" in sys.modules or "unsloth" in sys.modules}))
"""


def read(path):
    return json.loads(path.read_text())


def test_the_run_holds_exactly_these_files(sft_run):
    found = {p.name + ("/" if p.is_dir() else "") for p in sft_run.iterdir()} - {"wandb/"}
    assert found == {
        "recipe.yaml", "manifest.json", "audit.json", "events.jsonl", "logs/", "lock", "data/",
        "train/",
        "base_answers.jsonl", "answers_before.jsonl", "answers_after.jsonl", "scores_before.json",
        "scores_after.json", "verdict.json", "dial.json", "adapter/", "export/", "report.html",
        "report.json",
    }  # fmt: skip
    assert {p.name for p in (sft_run / "train").iterdir()} == {"metrics.jsonl", "train.json"}
    assert {p.name for p in (sft_run / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip


def test_four_steps_lower_the_loss_and_change_the_scores(sft_run):
    losses = [json.loads(line) for line in (sft_run / "train" / "metrics.jsonl").open()]
    steps = [row["loss"] for row in losses if "loss" in row]
    assert len(steps) == 4
    assert steps[-1] < steps[0]
    before, after = read(sft_run / "scores_before.json"), read(sft_run / "scores_after.json")
    assert after["task"]["loss"] < before["task"]["loss"]
    assert after["drift"]["value"] > 0
    assert before["drift"]["value"] == 0
    assert before["task"]["asked"] == after["task"]["asked"] == 12
    assert before["habit_leak"]["asked"] == 6


def test_the_loss_is_carried_by_the_answers_alone(sft_run):
    facts = read(sft_run / "train" / "train.json")
    assert 0.1 < facts["share_bearing_loss"] < 0.5
    marked = facts["example"].split("⟦")
    assert len(marked) == 2
    assert marked[1].startswith("queue=")
    assert marked[1].endswith("<|im_end|>⟧")


def test_the_manifest_names_versions_hashes_and_machine_and_no_row(sft_run):
    manifest = read(sft_run / "manifest.json")
    assert manifest["versions"]["unsloth"]
    assert manifest["seed"] == 3407
    assert len(manifest["recipe_sha256"]) == 64
    assert len(manifest["model"]["sha256"]) == 64
    assert manifest["machine"]["cores"] > 0
    assert "queue=" not in (sft_run / "manifest.json").read_text()


def test_an_alarm_rises_once_in_events_and_in_the_report_and_one_is_held_back(sft_run):
    events = [json.loads(line) for line in (sft_run / "events.jsonl").open()]
    alarms = [e for e in events if e["kind"] == "alarm"]
    assert [(a["name"], a["action"]) for a in alarms] == [("drift", "warn")]
    assert alarms[0]["drift"] > 0
    page = (sft_run / "report.html").read_text()
    assert "budget 0" in page
    assert "under 50" in page  # the held-out loss is as low as the training loss
    assert [e["name"] for e in events if e["kind"] == "note"] == ["loss_under"]


def test_the_drift_is_measured_in_training_and_every_step_is_finite(sft_run):
    metrics = [json.loads(line) for line in (sft_run / "train" / "metrics.jsonl").open()]
    drifts = {m["step"]: m["drift"] for m in metrics if "drift" in m}
    assert drifts[4] > drifts[1] > 0
    clock = [m["seconds"] for m in metrics if "seconds" in m]
    assert clock == sorted(clock)
    assert len(clock) == 4
    assert all(m["memory_gib"] > 0.1 for m in metrics if "loss" in m)
    facts = read(sft_run / "train" / "train.json")
    assert facts["last_drift"] == drifts[4]
    assert (facts["best_step"], facts["stopped_early"]) == (4, False)
    # The rehearsal's term of the loss is not the task's.
    assert all(m["task_loss"] < m["loss"] for m in metrics if m.get("task_loss"))
    assert any("task_loss" in m for m in metrics)


def test_wandb_kept_the_run_offline_with_the_real_package(sft_run):
    kept = list((sft_run / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(kept) == 1
    data = kept[0].read_bytes()
    assert b"train/loss" in data
    assert b"appliance: drift" in data  # the alert


def test_no_token_of_the_environment_is_in_any_file_of_the_run(sft_run):
    files = [p for p in sft_run.rglob("*") if p.is_file()]
    assert any("wandb" in p.parts for p in files)
    for path in files:
        data = path.read_bytes()
        assert not [name for name, secret in SECRETS.items() if secret.encode() in data], path


def test_plain_transformers_loads_the_merged_model_which_answers_and_stops(sft_run):
    prompts = [
        "How many days are in a week?",
        "Say hello.",
        "What is the capital of France?",
        "Name a colour.",
    ]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(sft_run / "export" / "merged"), json.dumps(prompts)],
        capture_output=True, text=True, cwd="/", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["class"] == "LlamaForCausalLM"
    assert not said["appliance"]
    assert all(text for text, last in said["said"])
    # After four steps one answer or another may ramble; that most end shows that they can.
    assert sum(last == said["eos"] for text, last in said["said"]) >= 2


def test_the_merged_model_keeps_the_bases_tokenizer_byte_for_byte(sft_run):
    from appliance.model.embedded import folder

    for path in folder().iterdir():
        if path.suffix != ".safetensors":
            assert (sft_run / "export" / "merged" / path.name).read_bytes() == path.read_bytes()


def test_the_same_command_again_does_nothing_again(sft_run):
    recipe = str(sft_run / "recipe.yaml")
    before = (sft_run / "scores_after.json").stat().st_mtime_ns
    done = appliance("train", recipe, "--run", str(sft_run))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("done before") == 9
    assert (sft_run / "scores_after.json").stat().st_mtime_ns == before


def test_another_recipe_in_the_same_run_is_refused(sft_run):
    done = appliance("train", str(sft_run / "recipe.yaml"), "--run", str(sft_run),
                     *sets("train.max_steps=9"))  # fmt: skip
    assert done.returncode == 2
    assert "train.max_steps: 4 -> 9" in done.stderr


def test_chat_answers_once_on_stdout_alone(sft_run):
    done = appliance("chat", str(sft_run), "--prompt", "What is the capital of France?",
                     "--base", "--tokens", "24")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert done.stderr == ""


def test_the_report_escapes_what_models_and_data_say(sft_run, tmp_path):
    import shutil

    from appliance.report.page import write
    from appliance.run import RunDir

    copy = tmp_path / "run"
    shutil.copytree(sft_run, copy, ignore=shutil.ignore_patterns("export", "wandb"))
    answers = copy / "answers_after.jsonl"
    rows = [json.loads(line) for line in answers.open()]
    for row in rows:
        row["answer"] = "<script>alert(1)</script>"
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write(RunDir(copy))
    page = (copy / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_export_is_refused_where_the_policy_refuses(sft_run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(sft_run, copy, ignore=shutil.ignore_patterns("export", "wandb"))
    recipe = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(
        recipe.replace("action: warn\n  dial", "action: refuse\n  dial")
    )
    verdict = read(copy / "verdict.json")
    (copy / "verdict.json").write_text(json.dumps(verdict | {"ship": "no"}))
    (copy / "dial.json").write_text(json.dumps({"tried": [], "chosen": None}))
    done = appliance("export", str(copy))
    assert done.returncode == 3, done.stderr
    assert "What is left: 1. " in done.stderr
    assert not (copy / "export" / "merged").exists()
    assert appliance("export", str(copy), "--force").returncode == 0
    assert (copy / "export" / "merged" / "model.safetensors").is_file()


def test_nothing_was_written_into_the_project(sft_run):
    done = subprocess.run(["git", "status", "--porcelain", "--ignored"], cwd=ROOT,
                          capture_output=True, text=True)  # fmt: skip
    assert "unsloth_compiled_cache" not in done.stdout


def test_the_merged_model_is_measured_like_any_model(sft_run, off_task, tmp_path):
    merged = sft_run / "export" / "merged"
    done = appliance(
        "evaluate", str(merged), "--json", "--run", str(tmp_path / "run"),
        *sets("data.limit=64", "data.test_limit=12", f"evaluate.off_task={off_task}",
              "evaluate.answer_tokens=8", "evaluate.suites=[]"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    after = read(sft_run / "scores_after.json")
    assert found["bits"] == 16
    # The adapter was trained beside the 4-bit base and is merged into the 16-bit one.
    assert found["task"]["loss"] == pytest.approx(after["task"]["loss"], rel=0.2)
    assert found["task"]["loss"] < 0.8 * read(sft_run / "scores_before.json")["task"]["loss"]


def test_a_weaker_merge_lies_between_base_and_tuned(sft_run, tmp_path):
    import shutil

    from safetensors.torch import load_file

    from appliance.model.embedded import folder

    copy = tmp_path / "run"
    shutil.copytree(sft_run, copy, ignore=shutil.ignore_patterns("wandb"))
    assert appliance("export", str(copy), "--strength", "0.5").returncode == 0
    name = "model.layers.0.self_attn.q_proj.weight"
    base, half, full = (
        load_file(place / "model.safetensors")[name].float()
        for place in (folder(), copy / "export" / "merged", sft_run / "export" / "merged")
    )
    # Four steps change less than bf16 can show in many places, so the halves are not exact here;
    # test_merge.py adds them up by hand.
    assert 0 < float((half - base).norm()) < float((full - base).norm())
