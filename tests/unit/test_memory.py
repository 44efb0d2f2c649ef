"""Will it fit? Reckoned before training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from published import LLAMA_8B

from appliance import memory
from appliance.errors import TrainingFailed
from appliance.model import backend
from appliance.recipe import load
from appliance.train import batch, fitting

SMALL = SimpleNamespace(num_hidden_layers=30, hidden_size=576, intermediate_size=1536)
LARGE = SimpleNamespace(num_hidden_layers=36, hidden_size=4096, intermediate_size=12288)


@pytest.mark.parametrize(
    ("machine", "most", "used", "expected"),
    [(8, None, None, 8), (8, 6, 1, 5), (3, 6, 1, 3), (None, 6, 2, 4), (None, None, None, None)],
)
def test_the_containers_share_counts(tmp_path, monkeypatch, machine, most, used, expected):
    said = {
        "/proc/meminfo": "" if machine is None else f"MemAvailable:   {machine * 2**20} kB\n",
        memory.LIMITS[0]: "max\n" if most is None else f"{most * memory.GIB}\n",
        memory.USED[0]: "" if used is None else f"{used * memory.GIB}\n",
    }
    monkeypatch.setattr(memory, "text", lambda path: said.get(path, ""))
    found = memory.free()
    assert found == (None if expected is None else expected * memory.GIB)


def test_what_cannot_fit_is_refused_with_the_numbers(monkeypatch):
    monkeypatch.setattr(backend, "on_gpu", lambda: False)
    monkeypatch.setattr(backend, "bf16", lambda: True)
    monkeypatch.setattr(memory, "free", lambda: 8 * memory.GIB)
    batch.must_fit(SMALL, 16, 256)  # 4,096 tokens: 4 GiB
    batch.must_fit(LARGE, 1, 384)
    with pytest.raises(TrainingFailed, match=r"4 rows of 1024 tokens need about 36 GiB.* 8 GiB"):
        batch.must_fit(LARGE, 4, 1024)
    with pytest.raises(TrainingFailed, match="16 rows of 256 tokens"):  # as many beside them again
        batch.must_fit(SMALL, 16, 256, 5000)
    monkeypatch.setattr(backend, "bf16", lambda: False)  # in fp32 each takes twice as much
    with pytest.raises(TrainingFailed, match=r"4 rows of 1024 tokens need about 72 GiB"):
        batch.must_fit(LARGE, 4, 1024)
    monkeypatch.setattr(backend, "on_gpu", lambda: True)  # there the rows at once are halved
    batch.must_fit(LARGE, 4, 1024)


class Config(dict):
    """As much of a model's config as is asked."""

    def to_dict(self):
        return dict(self)


@pytest.fixture
def a_card(tmp_path, monkeypatch):
    """Gives how many rows at once a card of so many GiB is trained with, and what keeps it."""
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    monkeypatch.setattr(backend, "on_gpu", lambda: True)

    def on(gib, config=LLAMA_8B, longest=4000, sets=()):
        monkeypatch.setattr(fitting, "card", lambda: ("a card", int(gib * memory.GIB)))
        recipe = load("sft", ["train.batch_size=12", *sets])
        found = fitting.fitting(recipe, Config(config), longest, 30.0)
        return batch.micro_batch(recipe, longest, found), found

    return on


def test_a_gpu_takes_as_many_rows_as_fit_and_divide_the_batch(a_card):
    # An 8B in 4 bit takes 7 GiB, and 4,000 tokens near one more (tests/unit/test_sizing.py).
    assert [a_card(gib)[0] for gib in (8.5, 12, 24, 80)] == [1, 4, 12, 12]
    assert a_card(24, longest=100)[0] == 12
    assert a_card(24, sets=["train.micro_batch=5"]) == (4, None)


def test_rows_that_a_card_did_not_hold_are_not_tried_again(a_card):
    rows, found = a_card(24)
    found.keep(rows // 2)
    assert a_card(24)[0] == rows // 2
    assert a_card(24, longest=3990)[0] == rows // 2  # of like length
    # Another length, card, precision, or more of the card held by others: reckoned anew.
    assert a_card(24, longest=100)[0] == rows
    assert a_card(48)[0] == rows
    found.path.write_text("{")
    assert a_card(24)[0] == rows


def test_where_not_one_row_should_fit_one_is_tried_and_it_is_said(a_card, capsys):
    assert a_card(5)[0] == 1
    said = capsys.readouterr().err
    assert "one row of 4032 tokens needs about" in said
    assert "4.8 GiB are there" in said


def test_a_model_that_is_not_counted_begins_with_four(a_card):
    assert a_card(24, config={"model_type": "mamba"})[0] == 4
