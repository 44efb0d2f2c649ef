"""`push` sends what was proven and nothing else, and only when it is told to."""

from __future__ import annotations

import hashlib
import json

import pytest
from helpers import appliance
from hub import TOKEN, hub

from appliance.errors import ApplianceError, BadInput, RunError

FILES = {
    "merged/model.safetensors": b"weights" * 100,
    "merged/config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "gguf/demo-q8_0.gguf": b"GGUF" + b"\0" * 50,
}


@pytest.fixture
def exported(tmp_path):
    """A run as far as `push` reads one."""
    run = tmp_path / "demo"
    from appliance.recipe import load

    for name, content in FILES.items():
        path = run / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (run / "recipe.yaml").write_text(load("sft").dump())
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    (run / "export" / "export.json").write_text(json.dumps({"files": hashes}))
    (run / "export" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# demo\n")
    (run / "export" / "proof.json").write_text("{}")
    (run / "data").mkdir()
    (run / "data" / "train.jsonl").write_text("a row that stays at home")
    return run


@pytest.fixture
def place(monkeypatch):
    """The hub, for what runs in this process too."""
    from huggingface_hub import constants

    with hub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def push(run, **how):
    from appliance.export.push import push
    from appliance.run import RunDir

    return push(RunDir(run), "me/demo", **how)


def test_the_export_its_card_and_its_proof_arrive_whole_and_nothing_else_does(exported):
    with hub() as place:
        done = appliance(
            "push", str(exported), "me/demo",
            env={"HF_ENDPOINT": place.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
                 "HF_HOME": str(exported / "hub"), "HF_HUB_OFFLINE": "0"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{place.address}/me/demo"
    assert place.created[0]["name"] == "demo"
    assert is_public(place) is False
    assert place.tokens <= {f"Bearer {TOKEN}", None}  # its check of the card is anonymous
    assert place.committed == {
        "model.safetensors": FILES["merged/model.safetensors"],
        "config.json": FILES["merged/config.json"],
        "gguf/demo-q8_0.gguf": FILES["gguf/demo-q8_0.gguf"],
        "README.md": (exported / "export" / "README.md").read_bytes(),
        "proof.json": b"{}",
    }
    assert TOKEN not in done.stdout + done.stderr


def is_public(place):
    told = place.created[0]
    return not told["private"] if "private" in told else told["visibility"] == "public"


def test_public_only_when_it_is_said(exported, place):
    push(exported, public=True)
    assert is_public(place)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda e: (e / "merged" / "config.json").write_text("{}"), "not what was proven"),
        (lambda e: (e / "gguf" / "demo-q8_0.gguf").unlink(), "not what was proven"),
        (lambda e: (e / "UNUSABLE").write_text("no"), "proof failed"),
        (lambda e: (e / "export.json").unlink(), "no whole export"),
    ],
)
def test_what_was_not_proven_is_not_sent(exported, place, spoil, said):
    spoil(exported / "export")
    with pytest.raises(RunError, match=said):
        push(exported)
    assert place.asked == []


def test_without_a_token_it_says_so_and_asks_nobody(exported, place, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="HF_TOKEN"):
        push(exported)
    assert place.asked == []


@pytest.mark.parametrize("where", ["/api/repos/create", "/commit/", "/blob/"])
def test_where_the_hub_says_no_nothing_is_committed(exported, place, where):
    place.refuses = (where,)
    with pytest.raises(ApplianceError, match="did not take me/demo") as caught:
        push(exported)
    assert caught.value.exit_code == 1
    assert place.committed == {}
