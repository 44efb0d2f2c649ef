"""What a run measured of the base, taken by the next one on the same rows."""

from __future__ import annotations

import json
import os

import pytest

from appliance.disk import write_json, write_jsonl
from appliance.evaluate import base
from appliance.home import home, only_newest
from appliance.recipe import load
from appliance.run import RunDir

MEASURED = [{"prompt": "What is rain?", "answer": "Water."}]


@pytest.fixture
def begun(tmp_path, monkeypatch, beside_a_model):
    """name, recipe keys, rows -> a run whose data stage is done."""
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(base, "_computed_by", lambda: {"torch": "2"})  # without importing it

    def begin(name, *sets, rows=({"line": 1},)):
        recipe = load("sft", ["model.name=model", *sets])
        run = RunDir(tmp_path / name)
        run.create(recipe)
        for path in (run.train_rows, run.valid_rows, run.test_rows):
            write_jsonl(path, list(rows))
        return run, recipe

    return begin


@pytest.fixture
def measured(begun):
    run, recipe = begun("first")
    for path in (run.base_answers, run.answers_before):
        write_jsonl(path, MEASURED)
    write_json(run.scores_before, {"task": 0.5, "from_cache": False})
    base.keep(run, recipe)
    return run


def test_the_same_rows_are_not_measured_again(measured, begun):
    run, recipe = begun("second", "adapter.r=8", "train.learning_rate=1e-5", "anchor.kl=0")
    assert base.take(run, recipe)
    assert json.loads(run.scores_before.read_text()) == {"task": 0.5, "from_cache": True}
    for name in ("base_answers", "answers_before"):
        assert getattr(run, name).read_bytes() == getattr(measured, name).read_bytes()


@pytest.mark.parametrize(
    "sets", ["model.bits=16", "evaluate.answer_tokens=9", "data.system=Be brief.", "train.seed=1"]
)
def test_with_what_decides_the_measurement_changed_it_is(measured, begun, sets):
    assert not base.take(*begun("second", sets))


def test_on_other_rows_it_is(measured, begun):
    run, recipe = begun("second", rows=({"line": 2},))
    assert not base.take(run, recipe)
    assert not run.scores_before.exists()


def test_by_other_code_it_is(measured, begun, monkeypatch):
    monkeypatch.setattr(base, "code", lambda room="": "other")
    assert not base.take(*begun("second"))


def test_a_suite_that_was_changed_is_asked_again(begun, tmp_path):
    suite = tmp_path / "suite.jsonl"
    suite.write_text('{"prompt": "a"}\n')
    kept = base._measured(*begun("a", f"evaluate.off_task={suite}"))
    suite.write_text('{"prompt": "b"}\n')
    assert base._measured(*begun("b", f"evaluate.off_task={suite}")).root != kept.root


def test_benchmarks_of_the_hub_are_asked_each_time(begun):
    assert base._measured(*begun("a", "evaluate.benchmarks=[piqa]")) is None


def test_what_is_damaged_is_measured_again(measured, begun):
    run, recipe = begun("second")
    (kept,) = (home() / "measured").iterdir()
    (kept / "answers_before.jsonl").write_text('{"prompt": "What is ra\n{"a": 1}\n')
    assert not base.take(run, recipe)
    assert not run.scores_before.exists()


def test_a_cache_that_cannot_be_written_costs_no_run(begun, tmp_path):
    run, recipe = begun("first")
    for path in (run.base_answers, run.answers_before):
        write_jsonl(path, MEASURED)
    write_json(run.scores_before, {})
    (tmp_path / "home").write_text("a file where the folder should be")
    base.keep(run, recipe)
    assert not base.take(run, recipe)


def test_of_what_is_kept_the_oldest_goes(tmp_path):
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "more").write_text("e")
    os.utime(tmp_path / "e", (900, 900))
    only_newest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_the_base_says_is_kept_for_the_code_that_computes_it(begun, monkeypatch):
    class Loaded:
        class ref:
            digest = staticmethod(lambda: "weights")

    _, recipe = begun("first")

    def key(**rooms):
        monkeypatch.setattr(base, "code", lambda room="": rooms.get(room, "as it was"))
        return base._key(Loaded, recipe.model, ())

    assert key(report="other") == key()
    assert key(model="other") != key()
