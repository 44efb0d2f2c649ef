"""What the tests of the verbs share."""

from __future__ import annotations

import pytest


@pytest.fixture
def beside_a_model(tmp_path, monkeypatch):
    """In an empty folder but for `model`, so that what is wrong with the data is found first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPLIANCE_VERBOSE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"")
