"""`appliance report RUN`, of any run directory, dead or alive."""

from __future__ import annotations

import json

import pytest
from helpers import appliance
from report_runs import begun, metrics, whole


def test_the_verb_writes_the_page_of_a_dead_run_and_leaves_the_rest(tmp_path):
    run = begun(tmp_path / "my run")
    metrics(run, 20, every=5)
    before = {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file()}
    done = appliance("report", str(run.root))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(run.report)
    assert done.stderr == ""
    page = run.report.read_text()
    assert "appliance train &#39;" in page  # the command goes with a folder of two words
    after = {p: p.read_bytes() for p in run.root.rglob("*") if p.is_file() and p != run.report}
    assert after == before


def test_the_verb_gives_the_numbers_of_a_damaged_run_and_says_what_is_damaged(tmp_path):
    run = whole(tmp_path / "run")
    run.verdict.write_text("{")
    done = appliance("report", str(run.root), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ship"]["may"] == "open"
    assert "verdict.json is damaged" in found["damaged"][0]
    assert "verdict.json is damaged" in done.stderr


@pytest.mark.parametrize("what", ["an empty folder", "nothing"])
def test_what_is_no_run_is_refused(tmp_path, what):
    folder = tmp_path / "none"
    if what == "an empty folder":
        folder.mkdir()
    done = appliance("report", str(folder))
    assert done.returncode == 2
    assert "is not a run directory" in done.stderr
    assert not (folder / "report.html").exists()
