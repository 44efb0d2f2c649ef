"""Will it fit? Reckoned before training on a CPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from appliance import memory
from appliance.errors import TrainingFailed
from appliance.model import backend
from appliance.train import batch

SMALL = SimpleNamespace(num_hidden_layers=30, hidden_size=576)
LARGE = SimpleNamespace(num_hidden_layers=36, hidden_size=4096)


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
    monkeypatch.setattr(memory, "free", lambda: 8 * memory.GIB)
    batch.must_fit(SMALL, 8, 256)  # 2,048 tokens: 4 GiB
    batch.must_fit(LARGE, 1, 384)
    with pytest.raises(TrainingFailed, match=r"4 rows of 1024 tokens need about 70 GiB.* 8 GiB"):
        batch.must_fit(LARGE, 4, 1024)
    with pytest.raises(TrainingFailed, match="8 rows of 256 tokens"):  # as many beside them again
        batch.must_fit(SMALL, 8, 256, 2100)
    monkeypatch.setattr(backend, "on_gpu", lambda: True)  # there the rows at once are halved
    batch.must_fit(LARGE, 4, 1024)
