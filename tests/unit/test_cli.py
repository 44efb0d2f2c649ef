"""The doors: bad input is one sentence, an exit code, no traceback, nothing half written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from helpers import ROOT

from appliance.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def run(beside_a_model):
    """Call the command in an empty folder; embedded conversion and libraries stay out of it."""

    def call(*arguments):
        return CliRunner().invoke(main, list(arguments))

    return call


ROW = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("empty.jsonl", "", "empty"),
        ("broken.jsonl", json.dumps(ROW) + "\n{oops\n", "broken.jsonl:2"),
        ("form.jsonl", '{"a": 1}\n', "a"),
        ("late.jsonl", json.dumps(ROW) + '\n{"messages": []}\n', "2"),
        ("table.csv", "text,category\na\n", "2"),
    ],
)
def test_a_bad_data_file_is_named_with_its_line(run, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    done = run("train", "--model", "model", "--data", name, "--run", "r")
    assert done.exit_code == 2, done.output
    assert name in done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "r").exists()


def test_a_missing_data_file_is_named(run, tmp_path):
    done = run("train", "--model", "model", "--data", "nope.jsonl", "--run", "r")
    assert done.exit_code == 2
    assert "nope.jsonl" in done.output
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "no model folder"), (".", "config.json"), ("./x/y", "no model")]
)
def test_a_model_that_is_not_there_is_named(run, tmp_path, name, said):
    done = run("train", "--model", name, "--run", "r")
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert not (tmp_path / "r").exists()


def test_an_unknown_recipe_key_names_the_nearest(run):
    done = run("train", "--set", "train.epoch=1", "--run", "r")
    assert done.exit_code == 2
    assert "train.epochs" in done.output


def test_a_pickled_model_is_refused_with_the_way_to_convert(run, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    done = run("train", "--model", "pickled", "--run", "r")
    assert done.exit_code == 2
    assert "Pickled" in done.output


def test_a_file_where_the_run_should_be_is_one_sentence(run, tmp_path):
    (tmp_path / "r").write_text("mine")
    done = run("train", "--model", "model", "--run", "r")
    assert done.exit_code == 2, done.output
    assert (tmp_path / "r").read_text() == "mine"


@pytest.mark.parametrize("verb", ["export"])
def test_a_folder_that_is_no_run_is_refused(run, verb):
    done = run(verb, "model")
    assert done.exit_code == 2
    assert "not a run directory" in done.output


def test_a_dry_run_prints_the_recipe_and_the_plan_and_makes_nothing(run, tmp_path):
    before = sorted(tmp_path.iterdir())
    done = run("train", "--dry-run", "--json", "--set", "train.epochs=1")
    found = json.loads(done.stdout)
    assert found["recipe"]["train"]["epochs"] == 1
    assert found["plan"]["steps"] > 30
    assert sorted(tmp_path.iterdir()) == before


def test_recipes_list_show_and_copy(run, tmp_path):
    assert set(json.loads(run("recipes", "list", "--json").stdout)) == {
        "sft", "sft-domain-shift", "dpo",
    }  # fmt: skip
    assert "learning_rate: 0.0002" in run("recipes", "show", "sft").stdout
    assert run("recipes", "copy", "dpo").exit_code == 0
    assert "beta: 0.1" in (tmp_path / "dpo.yaml").read_text()
    again = run("recipes", "copy", "dpo")
    assert again.exit_code == 2
    assert "already" in again.output


def test_chat_without_a_terminal_says_how_to_ask_once(run):
    done = run("chat")
    assert done.exit_code == 2
    assert "--prompt" in done.output


def test_a_reader_that_has_had_enough_is_no_fault():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "recipes", "show", "sft"],
        cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == ""
