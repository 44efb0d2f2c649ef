"""A run goes on with what it began with, or says what differs."""

from __future__ import annotations

import pytest

from appliance import manifest, pipeline
from appliance.disk import read_jsonl, sha256, write_json
from appliance.errors import RunError
from appliance.model.backend import versions
from appliance.run import RunDir


@pytest.fixture
def run(tmp_path):
    """One that was begun with the libraries of today and a file of rows."""
    found = RunDir(tmp_path / "run")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    file = {"path": str(rows), "sha256": sha256(rows), "bytes": 3}
    write_json(found.manifest, {"versions": versions(), "data": [file]})
    return found


def test_nothing_changed_is_nothing_said(run, tmp_path):
    assert manifest.changes(run) == []
    (tmp_path / "rows.jsonl").unlink()  # the run has its rows
    assert manifest.changes(run) == []
    pipeline.as_begun(run, force=False)
    assert not run.events.exists()


def test_before_there_is_a_manifest_nothing_can_have_changed(tmp_path):
    assert manifest.changes(RunDir(tmp_path)) == []


@pytest.mark.parametrize("what", ["a library", "the data"])
def test_other_data_or_libraries_are_refused_with_the_difference_and_recorded_when_forced(
    run, tmp_path, what
):
    if what == "the data":
        (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
        said = "rows.jsonl is another file"
    else:
        write_json(run.manifest, {"versions": versions() | {"torch": "1.0"}, "data": []})
        said = f"torch: 1.0 -> {versions()['torch']}"
    with pytest.raises(RunError) as caught:
        pipeline.as_begun(run, force=False)
    assert said in caught.value.what
    assert "--force" in caught.value.do
    pipeline.as_begun(run, force=True)
    assert [(e["kind"], e["text"]) for e in read_jsonl(run.events)] == [("changed", said)]


def test_of_a_finished_run_it_is_recorded_alone(run):
    write_json(run.manifest, {"versions": versions() | {"trl": "0.1"}, "data": []})
    run.report.write_text("<html>")  # a page is there while it trains, too
    with pytest.raises(RunError):
        pipeline.as_begun(run, force=False)
    run.report_numbers.write_text("{}")
    pipeline.as_begun(run, force=False)
    assert "trl" in read_jsonl(run.events)[0]["text"]
