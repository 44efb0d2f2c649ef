"""The run directory: whole files, one owner, the same recipe."""

import errno
import json
import subprocess
import sys

import pytest

from appliance import disk as module
from appliance.disk import append_jsonl, read_json, read_jsonl, read_log, write_text
from appliance.errors import NoSpace, RunError
from appliance.recipe import Recipe, load
from appliance.run import RunDir, differences


def test_create_writes_the_resolved_recipe(tmp_path):
    run = RunDir(tmp_path / "a")
    run.create(Recipe())
    assert run.recipe() == Recipe()


def test_another_recipe_is_refused_and_the_difference_is_named(tmp_path):
    run = RunDir(tmp_path / "a")
    run.create(Recipe())
    with pytest.raises(RunError, match=r"train\.epochs: 3.* -> 1"):
        run.create(load("sft", ["train.epochs=1"]))
    run.create(load("sft", ["train.epochs=1"]), force=True)
    assert run.recipe().train.epochs == 1


def test_a_folder_with_other_things_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="other files"):
        RunDir(tmp_path).create(Recipe())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_in_use_is_refused_at_once(tmp_path):
    hold = (
        "import sys, time; from appliance.run import RunDir\n"
        f"with RunDir({str(tmp_path)!r}).lock(): print('held', flush=True); time.sleep(30)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunError, match="in use"), RunDir(tmp_path).lock():
            pass
        other.kill()
    with RunDir(tmp_path).lock():  # the system freed it with the process
        pass


def test_a_full_disk_leaves_the_old_file_and_no_half_of_the_new(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    write_text(path, "old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(NoSpace):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_a_really_full_device_is_named():
    from pathlib import Path

    with pytest.raises(NoSpace):
        append_jsonl(Path("/dev/full"), {"a": "x" * 100_000})


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"), RunDir(tmp_path / "file" / "r").lock():
        pass


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    with pytest.raises(RunError, match="line 2"):
        read_jsonl(path)
    with pytest.raises(RunError, match="missing or damaged"):
        read_json(tmp_path / "none.json")


def test_events_are_lines_of_json_with_a_time(tmp_path):
    run = RunDir(tmp_path)
    run.event("alarm", "low", step=3)
    run.event("stage", "train")
    lines = [json.loads(line) for line in run.events.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["alarm", "stage"]
    assert lines[0]["step"] == 3
    assert lines[0]["time"]


def test_differences_name_the_leaf():
    assert differences(Recipe(), load("sft", ["adapter.r=32"])) == ["adapter.r: 16 -> 32"]


def test_opening_what_is_no_run_says_so(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        RunDir.open(tmp_path)


@pytest.mark.parametrize("left", [b'{"step": 3, "lo', b"{", b'\xff\x00{"step"'])
def test_a_line_that_was_half_written_is_not_read_and_the_next_one_takes_its_place(tmp_path, left):
    log = tmp_path / "log.jsonl"
    assert read_log(log) == []
    for step in (1, 2):
        append_jsonl(log, {"step": step})
    with log.open("ab") as handle:
        handle.write(left)
    assert read_log(log) == [{"step": 1}, {"step": 2}]
    append_jsonl(log, {"step": 3})
    assert read_log(log) == [{"step": 1}, {"step": 2}, {"step": 3}]
    assert log.read_bytes().count(b"\n") == 3


def test_a_damaged_line_before_the_last_is_named(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\nnothing\n{"step": 3}\n')
    with pytest.raises(RunError, match="line 2"):
        read_log(log)


def test_a_key_that_a_file_should_hold_is_named_with_the_file(tmp_path):
    path = tmp_path / "verdict.json"
    path.write_text('{"reasons": [{}]}')
    found = read_json(path)
    assert found.get("ship") is None
    with pytest.raises(KeyError):
        found["ship"]
    for ask in (lambda: found["ship"], lambda: found["reasons"][0]["name"]):
        with pytest.raises(RunError, match=r"verdict\.json is damaged: it holds no"):
            ask()
    path.write_text("[1]")
    with pytest.raises(RunError, match="missing or damaged"):
        read_json(path)
