"""An ablation without a model: going on, and the verb."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from made_runs import BASE, plan_of, write_run

from appliance import pipeline
from appliance.ablate import work as module
from appliance.ablate.folder import Folder
from appliance.ablate.results import failure
from appliance.cli import main
from appliance.disk import write_json, write_jsonl
from appliance.errors import DataError, RunError, TrainingFailed
from appliance.recipe import Recipe
from appliance.run import RunDir, hold


@pytest.fixture
def stages(monkeypatch):
    """The pipeline's stages without a model: each writes its files and is counted."""
    done = []

    def go(run, recipe, order):
        assert order.last == "gate"
        done.append(run.root.name)
        if run.root.name.startswith("dora"):
            raise TrainingFailed("The loss is not finite.", "Lower the rate.")
        for stage, path in (("data", run.data_facts), ("baseline", run.scores_before)):
            if not path.is_file():
                done.append(f"{stage} of {run.root.name}")
                run.event("stage", stage, seconds=7.0)
        write_run(run, recipe, BASE, BASE, {"rehearse": 1, "train": 3})

    monkeypatch.setattr(pipeline, "ready", lambda run, recipe: None)
    monkeypatch.setattr(pipeline, "go", go)
    monkeypatch.setattr("appliance.manifest.write", lambda run, recipe: None)
    return done


def ablate(folder, plan):
    folder.create(plan)
    return module.work(folder, plan)


def test_arms_of_a_seed_share_rows_and_baseline_and_another_base_is_measured_anew(
    tmp_path, stages, capsys
):
    folder = Folder(tmp_path / "a")
    found = ablate(folder, plan_of("plain", "kl", "lora16", seeds=2))
    assert [text for text in stages if "of" in text] == [
        f"{stage} of {run}"
        for seed in (3407, 3408)
        for stage, run in [
            ("data", f"plain-{seed}"), ("baseline", f"plain-{seed}"), ("baseline", f"lora16-{seed}")
        ]
    ]  # fmt: skip
    # Shared or not, a run is priced as if it had been alone.
    assert found["arms"]["kl"]["seconds"]["value"] == 18
    said = capsys.readouterr().err
    assert "[1/6] plain-3407" in said
    assert "left for 5 runs" in said
    assert "anchor.kl" not in said  # what a run says is in its own log
    assert "rehearsal.self: None -> True" in folder.run("kl", 3407).told.read_text()


def test_the_same_command_does_not_do_again_what_is_done(tmp_path, stages):
    folder, plan = Folder(tmp_path / "a"), plan_of("plain", "kl")
    ablate(folder, plan)
    folder.run("kl", 3407).verdict.unlink()  # as if it had been killed in its last stage
    stages.clear()
    ablate(folder, plan)
    assert stages == ["kl-3407"]


def test_a_copy_that_was_cut_short_is_made_again(tmp_path, stages):
    folder, plan = Folder(tmp_path / "a"), plan_of("plain", "kl")
    ablate(folder, plan)
    run = folder.run("kl", 3407)
    for path in (run.verdict, run.data_facts, run.scores_before):  # each the last of its stage
        path.unlink()
    stages.clear()
    ablate(folder, plan)
    assert stages == ["kl-3407"]  # and neither data nor baseline of it


def test_an_arm_that_fails_is_recorded_and_the_others_go_on(tmp_path, stages, capsys):
    folder, plan = Folder(tmp_path / "a"), plan_of("plain", "dora", "kl")
    found = ablate(folder, plan)
    assert "The loss is not finite." in found["arms"]["dora"]["failed"]["3407"]
    assert found["arms"]["kl"]["gain"]["n"] == 3
    assert "dora-3407 FAILED: The loss is not finite. Lower the rate." in capsys.readouterr().err
    stages.clear()
    ablate(folder, plan)
    assert stages == ["dora-3407"]  # it is tried again


def test_rows_that_nobody_can_have_end_it_at_once(tmp_path, monkeypatch):
    def go(run, recipe, order):
        raise DataError("mine.jsonl is empty.")

    monkeypatch.setattr(pipeline, "ready", lambda run, recipe: None)
    monkeypatch.setattr(pipeline, "go", go)
    folder = Folder(tmp_path / "a")
    with pytest.raises(DataError):
        ablate(folder, plan_of("plain", "kl"))
    assert not folder.run("kl", 3407).root.exists()


def test_another_process_in_the_folder_is_refused(tmp_path):
    said = pytest.raises(RunError, match="another --out")
    with hold(tmp_path, "--out"), said, Folder(tmp_path).lock():
        pass


def test_a_run_takes_rows_and_baseline_whole(tmp_path):
    mine, other = RunDir(tmp_path / "mine"), RunDir(tmp_path / "other")
    write_run(other, Recipe(), BASE, BASE)
    write_jsonl(other.train_rows, [{"a": "ä"}])
    mine.take_data(other)
    mine.take_baseline(other)
    assert mine.train_rows.read_bytes() == other.train_rows.read_bytes()
    assert mine.audit.is_file()
    assert mine.scores_before.is_file()
    assert not mine.scores_after.exists()


# --- the verb


@pytest.fixture
def verb(tmp_path, monkeypatch, stages):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPLIANCE_VERBOSE", "1")
    return lambda *arguments: CliRunner().invoke(main, ["ablate", *arguments])


def test_the_verb_prints_the_table_and_leaves_the_page(verb, tmp_path):
    done = verb("--arms", "plain,kl", "--arm", "soft:anchor.kl=0.1", "--seeds", "1")
    assert done.exit_code == 0, done.output
    assert "| soft " in done.stdout
    page = (tmp_path / "runs" / "ablate-sft" / "ablate.html").read_text()
    assert "<h2>Less plain" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


def test_json_is_json_and_a_failure_is_exit_1(verb):
    done = verb("--arms", "plain,dora", "--seeds", "1", "--json")
    assert done.exit_code == 1
    assert list(json.loads(done.stdout)["arms"]) == ["plain", "dora"]


def test_an_interruption_is_no_failure_and_says_what_goes_on(verb, tmp_path, monkeypatch):
    def go(run, recipe, order):
        write_json(run.data_facts, {})
        run.event("stage", "data", seconds=1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "ready", lambda run, recipe: None)
    monkeypatch.setattr(pipeline, "go", go)
    done = verb("--arms", "plain,kl")
    assert done.exit_code == 130
    assert "The same command goes on" in done.output
    assert failure(Folder(tmp_path / "runs" / "ablate-sft").run("plain", 3407)) is None


def test_wrong_use_is_exit_2_and_makes_nothing(verb, tmp_path):
    for arguments, said in [
        (["--arms", "plian"], "Did you mean plain?"),
        (["--arms", ""], "No arm"),
        (["--arm", "x:train.epoch=1"], "train.epochs"),
    ]:
        done = verb(*arguments)
        assert done.exit_code == 2
        assert said in done.output
    assert not (tmp_path / "runs").exists()


def test_bad_rows_leave_no_half_of_an_ablation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPLIANCE_VERBOSE", "1")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    arguments = ["ablate", "--model", "model", "--data", "nope.jsonl", "--out", "a"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "nope.jsonl" in done.output
    assert not (tmp_path / "a").exists()


def test_the_arms_can_be_listed(verb):
    assert "rehearsal+kl" in verb("--arms", "list").stdout
