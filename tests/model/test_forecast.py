"""The forecast that training renews."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from appliance.disk import read_log
from appliance.run import RunDir

pytestmark = pytest.mark.model


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, ["forecast after 20 steps: 3m20s of training left"]),
        (
            {"stages": {"data": 1, "train": 120, "evaluate": 100}, "per_hour": 3.6,
             "limit": 300.0, "option": "--max-cost 0.3"},
            ["forecast after 20 steps: 3m20s of training left, 7m20s in all, about $0.44",
             "warning: that is more than --max-cost 0.3 (5m00s): it will stop there, with a "
             "checkpoint"],
        ),
    ],
)  # fmt: skip
def test_the_forecast_is_renewed_by_the_pace_of_the_steps(tmp_path, monkeypatch, known, said):
    """2 seconds a step and not 1, as was reckoned: what comes after takes twice as long too."""
    from appliance.train import forecast

    run = RunDir(tmp_path)
    run.event("forecast", "", **known)
    clock = iter([0.0, 19 * 2.0])
    monkeypatch.setattr(forecast.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(forecast, "spent", lambda run: 40.0)
    monkeypatch.setattr(forecast.backend, "on_gpu", lambda: False)
    told: list[str] = []
    renewing = forecast.Forecast(run, told.append)
    state = SimpleNamespace(global_step=0, max_steps=120)
    renewing.on_train_begin(None, state, None)
    for state.global_step in range(1, 30):
        renewing.on_step_end(None, state, None)
    assert [line.strip() for line in told] == said
    assert (read_log(run.events)[-1]["kind"] == "renewed") is bool(known)


def test_no_forecast_is_worth_a_training(tmp_path):
    from appliance.train import forecast

    run = RunDir(tmp_path)
    run.events.write_text("no event\nat all\n")
    told: list[str] = []
    renewing = forecast.Forecast(run, told.append)
    state = SimpleNamespace(global_step=0, max_steps=120)
    renewing.on_train_begin(None, state, None)
    for state.global_step in range(1, 30):
        renewing.on_step_end(None, state, None)
    assert len(told) == 1
    assert "no forecast" in told[0]
    assert "damaged" in told[0]
