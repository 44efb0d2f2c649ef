"""What a run will need: times against measured and published ones, and the verb."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner
from helpers import ROOT
from published import COUNTED, LLAMA2_7B, LLAMA_8B, config

from appliance.cli import main
from appliance.evaluate.suite import chosen
from appliance.plan import time, work
from appliance.plan.rows import Rows
from appliance.plan.time import Machine
from appliance.plan.work import Work
from appliance.recipe import load
from appliance.sizing import cards
from appliance.sizing.shape import EMBEDDED, shape

# The demo under the embedded model's tokenizer.
DEMO = Rows(
    train=616, valid=32, test=162, tokens=60.3, longest=79, answer=8.6, longest_answer=10,
    shared=24, labels=True, around=30, bytes_a_token=3.99, exact=True,
)  # fmt: skip
TWO_CORES = Machine(2, "avx2 avx512f avx512_bf16")


def seconds(recipe, given, machine, rows=DEMO, micro=8) -> dict[str, float]:
    gpu = machine.card is not None
    its = work.of(recipe, rows, chosen(recipe), micro=micro, packed=not gpu, gpu=gpu)
    found = time.seconds(its, shape(given), recipe, machine, rows.train)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("stage", "measured"),
    # `./entrypoint.sh train` on 2 cores with avx512_bf16, nothing beside it, 2026-11-27.
    [("baseline", 93), ("rehearse", 52), ("train", 350), ("evaluate", 110), ("export", 21)],
)
def test_the_default_takes_as_long_as_measured(stage, measured):
    assert seconds(load("sft"), EMBEDDED, TWO_CORES)[stage] == pytest.approx(measured, rel=0.1)


# LLaMA-Factory's wiki, "Performance comparison": LLaMA2-7B in 4 bit by Unsloth with
# FlashAttention 2, one A100 40GB: rows at once, tokens of a row, tokens a second.
PUBLISHED = [
    (1, 1024, 2556), (1, 2048, 3178), (1, 4096, 3413), (1, 8192, 3632), (1, 16384, 4050),
    (4, 1024, 3726),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "length", "published"), PUBLISHED)
def test_a_gpu_trains_as_fast_as_published(rows, length, published):
    recipe, machine = load("sft"), Machine(8, card=cards.find("a100-40"))
    its = Work(trained=100 * rows * length, passes=100)
    spent = time.spent(its, shape(LLAMA2_7B), recipe, machine)
    assert its.trained / spent == pytest.approx(published, rel=0.1)


def test_answers_of_a_gpu_are_asked_together_and_so_take_little_of_a_run():
    found = seconds(load("sft"), LLAMA_8B, Machine(8, card=cards.find("rtx4090")), micro=8)
    # Some 20 batches of up to 80 tokens; one question after another would be 600 times 80.
    assert 60 < found["baseline"] < 240


def test_a_faster_machine_and_a_smaller_model_take_less():
    recipe = load("sft")
    slow, fast = (Machine(8, card=cards.find(key)) for key in ("t4", "h100"))
    train = [seconds(recipe, given, m)["train"]
             for given, m in ((LLAMA_8B, slow), (LLAMA_8B, fast),
                              (COUNTED["Llama-3.2-1B"][0], fast))]  # fmt: skip
    assert train[0] > 2 * train[1] > 2 * train[2]
    one = seconds(recipe, EMBEDDED, Machine(1, TWO_CORES.flags))
    assert one["train"] > 1.8 * seconds(recipe, EMBEDDED, TWO_CORES)["train"]
    old = seconds(recipe, EMBEDDED, replace(TWO_CORES, flags="avx2"))
    assert (TWO_CORES.width, replace(TWO_CORES, flags="avx2").width) == (2, 4)
    assert old["train"] > 4 * seconds(recipe, EMBEDDED, TWO_CORES)["train"]


def test_the_recipe_decides_what_is_done():
    def train(*sets):
        return seconds(load("sft", sets), EMBEDDED, TWO_CORES)

    usual = train()
    assert train("train.epochs=1")["train"] < 0.5 * usual["train"]
    assert train("train.gradient_checkpointing=true")["train"] > 1.3 * usual["train"]
    alone = train("rehearsal.self=false")
    assert alone["rehearse"] == 0
    assert alone["train"] < 0.8 * usual["train"]
    assert train("evaluate.suites=[]")["baseline"] < 0.7 * usual["baseline"]
    assert train("export.formats=[]")["export"] == 0
    assert train("policy.dial=never")["dial"] == 0
    pairs = seconds(load("dpo"), EMBEDDED, TWO_CORES)
    assert pairs["train"] > 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path / "home"))

    def invoke(*arguments):
        return CliRunner().invoke(main, ["plan", *arguments])

    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text(json.dumps(LLAMA_8B))
    return invoke


def test_a_folder_with_a_config_alone_is_enough(run):
    done = run("--gpu", "rtx4090", "--model", "llama", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["model"]["weights"] == 8_030_261_248
    assert found["model"]["trained"] == 41_943_040
    assert found["machine"]["card"] == "rtx4090"
    assert not found["rows"]["tokens_counted"]
    assert found["fits"]
    assert 7 < found["needed_gib"] < 12
    stages = found["seconds"]
    assert found["total_seconds"] == pytest.approx(sum(stages.values()) - stages["dial"], abs=0.5)
    assert found["dollars"] == pytest.approx(found["total_seconds"] / 3600 * 0.34, abs=0.001)


def test_the_price_of_an_hour_can_be_given(run):
    found = json.loads(run("--gpu", "rtx4090", "--price", "2", "--json").stdout)
    assert found["price_per_hour"] == 2
    assert found["dollars"] == pytest.approx(found["total_seconds"] / 1800, abs=0.001)
    assert "no price is known" in run("--gpu", "rtx3060").stdout


def test_what_does_not_fit_is_said_with_the_numbers_and_what_to_do(run, tmp_path):
    done = run("--gpu", "rtx3060", "--model", "llama", "--set", "model.bits=16")
    assert done.exit_code == 0
    assert "it does not fit" in done.stdout
    assert "model.bits=4" in done.stdout
    assert "a larger card" in done.stdout
    rows = [{"prompt": "word " * 3000, "completion": f"answer {i}"} for i in range(40)]
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = ("--set", "model.max_length=16000", "--set", "train.micro_batch=8")
    done = run("--gpu", "rtx3060", "--model", "llama", "--data", "long.jsonl", *sets)
    assert "Set train.micro_batch=" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpu", "rtx4900"), "rtx4090"),
        (("--gpu", "rtx4090", "--price", "-3"), "price of -3"),
        (("--model", "empty"), "holds no config.json"),
        (("--model", "nowhere"), "no model folder nowhere"),
        (("--model", "strange"), "cannot be reckoned"),
        (("--model", "nobody/nothing"), "neither in the hub's cache"),
        (("--set", "adapter.target_modules=[lm_head]"), "no layers named lm_head"),
        (("--data", "gone.jsonl"), "gone.jsonl"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(run, tmp_path, monkeypatch, arguments, said):
    # Elsewhere in this process it may be told to try for half a minute.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "strange").mkdir()
    strange = config("mamba", 8, 8, 2, 2, 2, 8)
    (tmp_path / "strange" / "config.json").write_text(json.dumps(strange))
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output


def test_a_hub_id_in_the_hubs_cache_needs_its_config_alone(run, tmp_path, monkeypatch):
    from huggingface_hub import constants

    hub = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    snapshot = hub / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (hub / "models--some--model" / "refs").mkdir()
    (hub / "models--some--model" / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps(LLAMA_8B))
    done = run("--gpu", "h100", "--model", "some/model", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"]["weights"] == 8_030_261_248


def test_a_run_says_its_forecast_behind_its_data_and_does_without_one(run, tmp_path, capsys):
    from appliance import pipeline
    from appliance.data.rows import Row, write_jsonl
    from appliance.disk import read_log
    from appliance.run import RunDir

    folder = RunDir(tmp_path / "r")
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    for path, count in ((folder.train_rows, 400), (folder.valid_rows, 8), (folder.test_rows, 9)):
        write_jsonl(path, [Row.from_json({"messages": turns, "source": "s", "line": i})
                           for i in range(count)])  # fmt: skip
    pipeline.foretell(folder, load("sft"))
    (event,) = read_log(folder.events)
    assert event["kind"] == "forecast"
    assert event["text"] in capsys.readouterr().err
    assert event["seconds"] is None or event["seconds"] > 60
    assert event["gib"] > 1
    # 400 rows in three epochs of eight.
    from appliance.plan import of_run

    assert of_run(folder, load("sft")).to_json()["steps"] == 150
    # An architecture that is not counted ends nothing.
    (tmp_path / "strange").mkdir()
    strange = config("mamba", 8, 8, 2, 2, 2, 8)
    (tmp_path / "strange" / "config.json").write_text(json.dumps(strange))
    pipeline.foretell(folder, load("sft", ["model.name=strange"]))
    assert len(read_log(folder.events)) == 1


def test_planning_loads_nothing_heavy():
    asked = "from appliance.cli import main; main(['plan'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{asked}\nprint(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    heavy = {"torch", "transformers", "unsloth", "trl", "peft", "datasets", "scipy"}
    assert heavy & set(done.stdout.split()) == set()


def test_what_was_measured_here_corrects_the_plans_of_this_machine_alone(run):
    from appliance import plan
    from appliance.plan import calibration
    from appliance.plan.calibration import Measured

    before = plan.reckon(load("sft"))
    assert before.total_seconds
    calibration.keep(Measured(2.0, 1.5, "2026-11-27"), before.shape, before.recipe, before.machine)
    after = plan.reckon(load("sft"))
    assert after.total_seconds
    assert after.seconds["train"] > 1.5 * before.seconds["train"]
    assert after.needed == pytest.approx(1.5 * before.needed)
    assert "measured here on 2026-11-27" in "\n".join(after.lines())
    # Another precision, and a card by name, were not measured.
    assert plan.reckon(load("sft", ["model.bits=16"])).measured is None
    assert plan.reckon(load("sft"), gpu="l4").measured is None
    for path in (calibration.home() / "plan").iterdir():
        path.write_text("{")
    assert plan.reckon(load("sft")).needed == before.needed


def test_a_card_by_name_cannot_be_measured(run):
    done = run("--calibrate", "--gpu", "l4")
    assert done.exit_code == 2
    assert "Leave --gpu away" in done.output
