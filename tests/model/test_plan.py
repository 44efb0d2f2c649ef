"""Three real steps correct what is reckoned."""

from __future__ import annotations

import json

import pytest
from helpers import appliance, sets

pytestmark = pytest.mark.model


def test_three_real_steps_are_kept_for_later_plans(tmp_path):
    """In a cache of its own, with the model that is converted already lent to it."""
    from appliance.model import embedded

    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    model = embedded.folder()
    (home / "models" / model.name).symlink_to(model)
    env = {"APPLIANCE_HOME": str(home)}
    few = sets("data.limit=40", "train.batch_size=4")
    done = appliance("plan", "--calibrate", "--json", *few, env=env)
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)
    assert first["measured"]["time"] > 0.2
    # Memory, unlike time, does not depend on what else this machine does.
    assert 0.7 < first["measured"]["memory"] < 1.3
    again = json.loads(appliance("plan", "--json", *few, env=env).stdout)
    assert again["measured"] == first["measured"]
    assert again["needed_gib"] == first["needed_gib"]
    assert not list(tmp_path.glob("appliance-plan-*"))
