"""Standard benchmarks on the real small model: what the harness says is what the model does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import ROOT

pytestmark = pytest.mark.model
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PIQA = ROOT.parent / "shared" / "data" / "suites" / "piqa.jsonl"
# question, right, wrong: which of them comes first changes from item to item.
ITEMS = [
    ("What is the capital of France?", "Paris", "Oslo"),
    ("What is the opposite of hot?", "cold", "window"),
    ("How many legs does a dog have?", "four", "ninety"),
    ("What do cows eat?", "grass", "stones"),
    ("What colour is the sky on a clear day?", "blue", "brown"),
    ("What do you cut paper with?", "scissors", "a pillow"),
    ("Where do fish live?", "in water", "in the fire"),
    ("What do you wear on your feet?", "shoes", "a hat"),
    ("What falls from clouds?", "rain", "bricks"),
    ("What do bees make?", "honey", "steel"),
    ("What season comes after winter?", "spring", "Monday"),
    ("What do you use to write?", "a pencil", "a carrot"),
    ("What is ice made of?", "frozen water", "warm sand"),
    ("Which animal barks?", "a dog", "a snail"),
    ("What gives us light during the day?", "the sun", "the floor"),
    ("What do you drink when you are thirsty?", "water", "glue"),
    ("Which of these is a fruit?", "an apple", "a hammer"),
    ("Where do you sleep?", "in a bed", "in an oven"),
    ("What does a baker make?", "bread", "tyres"),
    ("What do you open a door with?", "a key", "a spoonful of soup"),
    ("What is two plus two?", "four", "purple"),
    ("Which of these can fly?", "a bird", "a horse"),
    ("What do trees grow from?", "seeds", "coins"),
    ("What keeps you dry in the rain?", "an umbrella", "a candle"),
]


@pytest.fixture(scope="module")
def loaded():
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    return open_model(ModelSection())


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "everyday.jsonl"
    items = [
        {"question": q, "choices": [right, wrong][:: 1 - 2 * (i % 2)], "answer": i % 2}
        for i, (q, right, wrong) in enumerate(ITEMS)
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


@pytest.fixture(scope="module")
def base(loaded, local):
    from appliance.evaluate.benchmarks import benchmarks

    return benchmarks(loaded, [str(local)])["everyday"]


def scored(loaded, path: Path, count: int) -> dict[str, list[float]]:
    """acc and acc_norm by item, from the losses of the choices as this house computes them."""
    from appliance.evaluate.benchmarks import read
    from appliance.model.chat import IGNORE, Encoded
    from appliance.model.likelihood import likelihoods

    rows, items = [], read(str(path))[:count]
    for item in items:
        before = f"Question: {item['question']}\nAnswer:"
        start = len(loaded.tokenizer.encode(before))
        for choice in item["choices"]:
            ids = loaded.tokenizer.encode(f"{before} {choice}")
            rows.append(Encoded(ids, [IGNORE] * start + ids[start:], False))
    losses = iter(likelihoods(loaded, rows))
    out: dict[str, list[float]] = {"acc": [], "acc_norm": []}
    for item in items:
        mine = [next(losses).loss for _ in item["choices"]]
        by_length = [loss / len(c) for loss, c in zip(mine, item["choices"], strict=True)]
        for metric, values in (("acc", mine), ("acc_norm", by_length)):
            out[metric].append(float(values.index(min(values)) == item["answer"]))
    return out


def test_the_harness_scores_as_the_likelihoods_of_the_choices_do(loaded, local, base):
    mine = scored(loaded, local, len(ITEMS))
    for metric, items in mine.items():
        assert base["metrics"][metric]["items"] == items
        assert base["metrics"][metric]["value"] == pytest.approx(sum(items) / len(items))
    assert sum(mine["acc"]) >= 18  # it knows that cows eat no stones
    assert base["n"] == len(ITEMS)


def test_the_first_items_of_piqa_are_scored_so_too(loaded):
    if not PIQA.is_file():
        pytest.skip(f"PIQA is not here: {PIQA} would be compared with the likelihoods")
    from appliance.evaluate.benchmarks import benchmarks

    found = benchmarks(loaded, [str(PIQA)], 24)["piqa"]["metrics"]
    mine = scored(loaded, PIQA, 24)
    assert {metric: found[metric]["items"] for metric in mine} == mine


def test_nothing_but_the_house_s_bar_is_shown(loaded, local, capfd):
    from appliance.evaluate.benchmarks import benchmarks

    found = benchmarks(loaded, [str(local)], 2)["everyday"]
    said = capfd.readouterr()
    assert said.out == ""
    assert [line.split(" (")[0] for line in said.err.splitlines()] == ["  benchmarks 4/4"]
    assert found["n"] == len(found["metrics"]["acc"]["items"]) == 2


@pytest.fixture
def own_tasks(tmp_path, monkeypatch, local):
    """The harness with a few tasks of a folder in place of its thousands."""
    from lm_eval.tasks import TaskManager

    from appliance.evaluate import harness

    data = f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {local}}}}}\n"
    data += "test_split: test\ndoc_to_text: '{{question}} Answer in one word.'\n"
    (tmp_path / "said.yaml").write_text(
        f"task: said\n{data}output_type: generate_until\ndoc_to_target: '{{{{choices[answer]}}}}'\n"
        "generation_kwargs: {until: ['.'], max_gen_toks: 4}\nmetric_list: [{metric: exact_match}]\n"
    )
    (tmp_path / "chosen.yaml").write_text(
        f"task: chosen\n{data}output_type: multiple_choice\ndoc_to_target: answer\n"
        "doc_to_choice: choices\nmetric_list: [{metric: acc}]\n"
    )
    (tmp_path / "both.yaml").write_text(
        "group: both\ntask: [said, chosen]\n"
        "aggregate_metric_list: [{metric: acc, weight_by_size: true}]\n"
    )
    (tmp_path / "away.yaml").write_text(
        "task: away\ndataset_path: nobody/nothing\ntest_split: test\noutput_type: multiple_choice\n"
    )
    manager = TaskManager(include_defaults=False, include_path=str(tmp_path))
    monkeypatch.setattr(harness, "_manager", lambda: manager)


def test_a_group_of_the_harness_s_tasks_is_asked_with_a_file_beside_it(loaded, local, own_tasks):
    from appliance.evaluate.benchmarks import benchmarks

    found = benchmarks(loaded, ["both", str(local)], 4)
    assert found.keys() == {"both", "said", "chosen", "everyday"}
    assert found["both"]["n"] == 8
    assert len(found["said"]["metrics"]["exact_match"]["items"]) == 4
    assert found["both"]["metrics"]["acc"]["value"] == found["chosen"]["metrics"]["acc"]["value"]
    assert len(found["chosen"]["metrics"]["acc"]["items"]) == 4


def test_an_unknown_name_gets_the_nearest_ones(loaded, own_tasks):
    from appliance.errors import DataError
    from appliance.evaluate.benchmarks import benchmarks

    with pytest.raises(DataError, match=r"no task choosen\. Did you mean chosen"):
        benchmarks(loaded, ["choosen"])


def test_a_task_and_its_group_are_not_both_asked(loaded, own_tasks):
    from appliance.errors import DataError
    from appliance.evaluate.benchmarks import benchmarks

    with pytest.raises(DataError, match="said of both is asked twice"):
        benchmarks(loaded, ["said", "both"])


def test_a_task_without_the_hub_is_refused_in_a_sentence(loaded, own_tasks, monkeypatch):
    import datasets
    from huggingface_hub import constants

    from appliance.errors import DataError
    from appliance.evaluate import harness
    from appliance.evaluate.benchmarks import benchmarks

    monkeypatch.setattr(harness, "OFFLINE", True)
    for place in (constants, datasets.config):
        monkeypatch.setattr(place, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"benchmark away cannot be had .*nobody/nothing") as error:
        benchmarks(loaded, ["away"])
    assert "\n" not in str(error.value)


def test_the_hub_may_be_asked_for_a_task_and_never_else(monkeypatch):
    import datasets
    from huggingface_hub import constants

    from appliance.evaluate import harness

    for place in (constants, datasets.config):
        monkeypatch.setattr(place, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(harness, "OFFLINE", False)
    with harness._hub():
        assert not constants.HF_HUB_OFFLINE
        assert not datasets.config.HF_HUB_OFFLINE
    assert constants.HF_HUB_OFFLINE
    assert datasets.config.HF_HUB_OFFLINE
    monkeypatch.setattr(harness, "OFFLINE", True)
    with harness._hub():
        assert constants.HF_HUB_OFFLINE


def test_an_adapter_at_zero_changes_no_item_and_a_strong_one_does(loaded, local, base):
    """The last of this file: the adapter stays on."""
    from appliance.evaluate.benchmarks import benchmarks
    from appliance.model import adapter, backend

    adapter.attach(loaded, r=8, alpha=16, dropout=0.0, target_modules=LAYERS, seed=1)
    assert benchmarks(loaded, [str(local)])["everyday"] == base
    torch = backend.torch()
    torch.manual_seed(2)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    after = benchmarks(loaded, [str(local)])["everyday"]["metrics"]
    assert after["acc"]["items"] != base["metrics"]["acc"]["items"]
