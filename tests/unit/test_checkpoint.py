"""Checkpoints are whole or not there. No model."""

from __future__ import annotations

import json
from fractions import Fraction
from types import SimpleNamespace

import pytest

from appliance.train.anchor import Rehearsal
from appliance.train.checkpoint import WHOLE, Checkpoints, Clock, is_whole, step_of


def write(checkpoints, step, text="weights"):
    with checkpoints.writing(step) as aside:
        made = aside / f"checkpoint-{step}"
        made.mkdir()
        (made / "adapter.safetensors").write_text(text)
        (made / "state.json").write_text(str(step))


@pytest.fixture
def three(tmp_path):
    found = Checkpoints(tmp_path / "trainer", keep=2)
    for step in (3, 20, 100):
        write(found, step)
    return found


def test_the_newest_is_by_step_and_older_ones_go_after_it(three):
    assert [step_of(path) for path in three.all()] == [100, 20]
    assert three.newest() == three.folder / "checkpoint-100"
    assert is_whole(three.folder / "checkpoint-20")
    assert not (three.folder / ".part").exists()


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "no hashes", "odd hashes"])
def test_a_damaged_one_is_set_aside_and_the_one_before_is_used(three, damage, capsys):
    newest = three.folder / "checkpoint-100"
    weights, hashes = newest / "adapter.safetensors", newest / WHOLE
    match damage:
        case "changed":
            weights.write_text("weighty")
        case "cut":
            weights.write_text("wei")
        case "gone":
            weights.unlink()
        case "no hashes":
            hashes.unlink()
        case "odd hashes":
            hashes.write_text(json.dumps(["adapter.safetensors"]))
    assert three.newest() == three.folder / "checkpoint-20"
    assert (three.folder / "damaged-checkpoint-100").is_dir()
    assert "checkpoint-100 is damaged" in capsys.readouterr().err
    assert three.newest() == three.folder / "checkpoint-20"


def test_where_writing_fails_those_before_stay_and_nothing_half_is_left(three):
    def fail():
        with three.writing(120) as aside:
            (aside / "checkpoint-120").mkdir()
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        fail()
    assert [step_of(path) for path in three.all()] == [100, 20]
    assert not (three.folder / ".part").exists()
    assert three.newest() == three.folder / "checkpoint-100"


def test_what_a_killed_process_left_is_no_checkpoint(three):
    left = three.folder / ".part" / "checkpoint-120"
    left.mkdir(parents=True)
    (left / "adapter.safetensors").write_text("half")
    assert three.newest() == three.folder / "checkpoint-100"
    write(three, 120)
    assert three.newest() == three.folder / "checkpoint-120"


def test_none_is_none(tmp_path):
    assert Checkpoints(tmp_path / "nowhere", keep=1).newest() is None


def test_one_is_due_by_the_clock_and_never_at_the_end(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("appliance.train.checkpoint.time.monotonic", lambda: now[0])
    clock = Clock(minutes=2)

    def after(seconds, step):
        now[0] += seconds
        return clock.due(step, 10)

    assert [after(100, 1), after(30, 2), after(100, 3)] == [False, True, False]
    assert not after(100, 10)


@pytest.mark.parametrize("step", [0, 1, 3, 4, 9])
def test_rehearsal_goes_on_with_the_row_that_came_next(step):
    rows = [SimpleNamespace(input_ids=[0] * n) for n in (1, 2, 3, 4, 5)]

    def fresh():
        return Rehearsal(None, rows, Fraction(4, 3), loss_weight=0.0, kl_weight=1.0)

    whole, stopped = fresh(), fresh()
    for _ in range(step):
        for _ in range(2):  # micro-batches
            for _ in range(whole.owe(2)):
                whole.seen_rows += 1
                whole.seen_tokens += len(rows[next(whole.turns)].input_ids)
    stopped.go_on(step)
    assert (stopped.seen_rows, stopped.seen_tokens) == (whole.seen_rows, whole.seen_tokens)
    assert stopped.owed == whole.owed
    for _ in range(12):
        assert next(stopped.turns) == next(whole.turns)
