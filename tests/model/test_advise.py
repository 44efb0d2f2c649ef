"""Advice by the real small model: the rows and the scorer of the task probe, and the verb."""

from __future__ import annotations

import json

import pytest
from helpers import appliance, sets

from appliance.data.prepare import prepare
from appliance.data.rows import write_jsonl
from appliance.evaluate import advise, probes
from appliance.model import backend
from appliance.model.chat import Answer
from appliance.model.load import open_model
from appliance.recipe import load
from appliance.run import RunDir

pytestmark = pytest.mark.model
SMALL = ("data.limit=200", "data.test_limit=16")
ASKED = ("zero_shot", "labels", "few_shot", "retrieval")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    """A run whose data stage is done."""
    found = RunDir(tmp_path_factory.mktemp("advise"))
    made = prepare(load("sft", SMALL).data, preference=False, seed=1, say=lambda text: None)
    write_jsonl(found.train_rows, made.train)
    write_jsonl(found.test_rows, made.test)
    return found


def test_the_verb_says_it_as_json_and_writes_nothing(tmp_path) -> None:
    done = appliance(
        "advise", *sets(*SMALL), "--rows", "12", "--shots", "2", "--target", "0.99", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(tmp_path.iterdir()) == []
    assert list(found["ways"]) == [*ASKED, "nearest"]
    for scores in found["ways"].values():
        assert scores["n"] == scores["asked"] == 12
        low, high = scores["interval"]
        assert low <= scores["value"] <= high
    assert found["ways"]["few_shot"]["shown"] == found["ways"]["retrieval"]["shown"] == 2
    assert len(found["answers"]) == 5 * 12
    # The base does not know the form of the answers, and examples show it.
    assert found["ways"]["zero_shot"]["value"] == 0
    shown = [item["answer"] for item in found["answers"] if item["way"] == "few_shot"]
    assert sum(answer.startswith("queue=") for answer in shown) > 8
    assert found["recommendation"]["choice"] == "fine-tuning"
    assert found["recommendation"]["cost"]["rows"] == 190


@pytest.fixture(scope="module")
def loaded():
    return open_model(load("sft").model)


def test_the_rows_as_they_stand_score_as_in_the_task_probe(run, loaded) -> None:
    recipe = load("sft", SMALL)
    train, test = advise.read_rows(run.train_rows), advise.read_rows(run.test_rows)
    task, said = probes.task(loaded, test, recipe)
    found, items = advise.measure(loaded, train, test, recipe, rows=8, shots=1)
    assert len(found["places"]) == 8
    assert found["ways"]["zero_shot"]["items"] == [task["items"][p] for p in found["places"]]
    # Prompts and not answers: in a batch of other rows rounding may end a ramble in another word.
    mine = [(item["prompt"], item["expected"]) for item in items if item["way"] == "zero_shot"]
    assert mine == [(said[p]["prompt"], said[p]["expected"]) for p in found["places"]]


def test_a_run_does_not_ask_twice_and_asks_no_more_than_it_can_afford(
    run, loaded, monkeypatch
) -> None:
    recipe = load("sft", SMALL)
    test = advise.read_rows(run.test_rows)
    said = [probes.task_item(row, Answer(row.answer, 9, False), True) for row in test]
    asked = []

    def fake(loaded, rows, prompts, room, short, what):
        asked.append(what)
        return [probes.task_item(row, Answer("no", 1, False), short) for row in rows]

    monkeypatch.setattr(probes, "ask_task", fake)
    monkeypatch.setattr(backend, "on_gpu", lambda: False)
    monkeypatch.setattr(advise, "TOKENS_ON_CPU", 8_000)
    made = advise.measure_alternatives(run, recipe, loaded, said)
    assert asked == ["labels", "few-shot", "retrieval"]
    assert advise.LEAST <= len(made["places"]) < 16
    assert made["ways"]["zero_shot"]["value"] == 1
    assert made["ways"]["few_shot"]["value"] == 0
    monkeypatch.setattr(advise, "TOKENS_ON_CPU", 1_000)
    made = advise.measure_alternatives(run, recipe, loaded, said)
    assert not made["measured"]
    assert "too long for a CPU" in made["why"]


def test_pairs_and_what_is_switched_off_are_said_not_measured(run) -> None:
    for recipe in (load("dpo"), load("sft", ["evaluate.alternatives=false"])):
        made = advise.measure_alternatives(run, recipe, None)
        assert not made["measured"]
        assert made["why"]
