"""The page while it trains takes less than a hundredth of the time, and no failure of its own
ends a training.
"""

from __future__ import annotations

import pytest
from report_runs import begun, metrics, whole

from appliance import pipeline
from appliance.cli.group import stages
from appliance.errors import Stop, TrainingFailed
from appliance.report.state import look
from appliance.run import RunDir
from appliance.train import live


class Clock:
    """What a page takes, in seconds: the first imports a library."""

    def __init__(self, monkeypatch, first=1.5, later=0.6) -> None:
        self.now, self.costs, self.written = 0.0, [first, later], []
        monkeypatch.setattr(live.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(live, "write", self.write)

    def write(self, run: RunDir) -> None:
        self.written.append(run)
        self.now += self.costs.pop(0) if len(self.costs) > 1 else self.costs[0]


def trained(page, steps, seconds, evaluations=4):
    """The steps at whose end a page was written, in a training of so many seconds."""
    planned = {round(steps * (i + 1) / evaluations) for i in range(evaluations)}
    found = []
    for step in range(1, steps + 1):
        before = page.spent
        page.step(step, steps, seconds * step / steps, planned=step in planned)
        if page.spent > before:
            found.append(step)
    return found


def test_the_page_is_fresh_at_every_evaluation_of_the_default_training(monkeypatch, tmp_path):
    Clock(monkeypatch)
    page = live.Live(RunDir(tmp_path))
    assert {58, 116, 173, 231} <= set(trained(page, 231, 439.0))
    assert page.spent < 4.39


def test_a_training_of_hours_has_its_first_page_long_before_its_first_evaluation(
    monkeypatch, tmp_path
):
    Clock(monkeypatch)
    page = live.Live(RunDir(tmp_path))
    found = trained(page, 10_000, 36_000.0)
    assert found[0] * 3.6 < 600
    assert {2500, 5000, 7500, 10_000} <= set(found)
    assert page.spent < 360


def test_a_training_of_seconds_has_none(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)
    assert trained(live.Live(RunDir(tmp_path)), 4, 20.0) == []
    assert clock.written == []


def test_a_page_that_cannot_be_written_is_said_once_and_training_goes_on(
    monkeypatch, tmp_path, capsys
):
    run = begun(tmp_path / "run")
    metrics(run, 4)

    def full(run):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live, "write", full)
    page = live.Live(run)
    for step in (1, 2, 3):
        page.step(step, 4, 1000.0, planned=True)
    assert capsys.readouterr().err.count("No space left") == 1


def test_a_live_page_is_not_taken_for_the_end_of_the_run(tmp_path):
    stage = next(s for s in pipeline.STAGES if s.name == "report")
    run = begun(tmp_path / "run")
    metrics(run, 8)
    with run.lock():
        live.Live(run).step(8, 8, 1000.0, planned=True)
    assert run.report.is_file()
    assert not stage.done(run).exists()
    pipeline.report(whole(tmp_path / "whole"), run.recipe())
    assert stage.done(RunDir(tmp_path / "whole")).is_file()


@pytest.mark.parametrize("stage", ["train", "export"])
def test_a_stage_that_begins_again_takes_the_report_back(tmp_path, monkeypatch, stage):
    """Whoever is killed after it has no report of what was there before."""
    run = whole(tmp_path / "run")
    recipe = run.recipe()
    pipeline.report(run, recipe)

    def killed(run, recipe):
        raise KeyboardInterrupt

    stages = [
        pipeline.Stage(s.name, s.done, killed if s.name == stage else s.work)
        for s in pipeline.STAGES
    ]
    monkeypatch.setattr(pipeline, "STAGES", stages)
    with pytest.raises(KeyboardInterrupt):
        pipeline.go(run, recipe, pipeline.Order(again=(stage,)))
    assert not run.report_numbers.exists()
    assert run.report.is_file()


def test_the_last_words_say_how_a_run_ended():
    from appliance.report.shapes import Event

    def kind(*events, running=False):
        told = [Event(kind=k, text=t) for k, _, t in (e.partition(":") for e in events)]
        return look(told, running=running).kind

    assert kind() == "new"
    assert kind("begins:data", "stage:data") == "ended"
    assert kind("begins:train") == "silent"
    assert kind("begins:train", running=True) == "running"
    assert kind("begins:train", "error:no space", "warning:x") == "failed"
    assert kind("begins:export", "refused:no", "error:no") == "refused"
    assert kind("begins:export", "refused:no", "error:no", "begins:export") == "silent"
    assert kind("begins:report") == "finished"
    assert kind("begins:report", "stage:report", "changed:torch") == "finished"
    assert kind("begins:report", "error:broken") == "failed"


@pytest.mark.parametrize(
    ("end", "state"), [(Stop(), "stopped"), (TrainingFailed("The loss is nan."), "failed")]
)
def test_a_run_that_ends_before_its_end_leaves_a_page_that_says_so(
    tmp_path, monkeypatch, end, state
):
    monkeypatch.setenv("APPLIANCE_VERBOSE", "1")
    run = begun(tmp_path / "run")
    metrics(run, 8)

    def broken(*args):
        raise end

    monkeypatch.setattr(pipeline, "ready", lambda *args: None)
    monkeypatch.setattr(pipeline, "go", broken)
    with pytest.raises(type(end)):
        stages(run, run.recipe())
    page = run.report.read_text()
    assert f'data-state="{state}"' in page
    assert 'http-equiv="refresh"' not in page
    assert f"appliance doctor {run.root}" in page
    assert not run.report_numbers.exists()
