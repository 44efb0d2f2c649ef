"""`appliance audit`: exit codes, the cleaned copy, and a run's own stage. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.data.audit.lengths import Template
from appliance.data.audit.stage import stage
from appliance.data.rows import Message, Row, write_jsonl
from appliance.disk import read_json
from appliance.errors import GateRefused
from appliance.recipe import load
from appliance.run import RunDir

_WORDS = "red kettle blue ladder green window amber garden violet engine brown pocket white"
WORDS = _WORDS.split()


def question(n: int) -> str:
    return f"{WORDS[n % 13]} {WORDS[(n * 5 + 3) % 13]} {chr(97 + n % 26) * 5} number {n * 7919}?"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with all that counting tokens needs: a tokenizer of words, and a template."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "<end>": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    template = (
        "{% for m in messages %}{{ m.role }} {{ m.content }} {{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant {% endif %}"
    )
    config = {"eos_token": "<end>", "unk_token": "<unk>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def audit(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", "--model", str(model), *map(str, arguments)])


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sound_rows_are_ok_and_exit_0(model: Path, tmp_path: Path) -> None:
    rows = [{"text": question(n), "label": WORDS[n % 3], "note": n} for n in range(240)]
    done = audit(model, written(tmp_path / "a.jsonl", rows), "--set", "train.epochs=3")
    assert done.exit_code == 0, done.output
    assert "240 rows read: 240 train" in done.stdout
    assert "verdict: " in done.stdout


def test_a_block_is_exit_3_and_says_what_and_how_to_go_on(model: Path, tmp_path: Path) -> None:
    rows = [{"text": question(n), "label": f"x {n}"} for n in range(20)]
    rows[4]["label"] += " AKIAQWERTYUIOPASDFGH"
    path = written(tmp_path / "a.jsonl", rows)
    done = audit(model, path, "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert (found["verdict"], found["blocked_by"]) == ("block", ["secrets"])
    assert f"{path}:5" in done.stderr
    assert "--fix OUT.jsonl" in done.stderr
    assert "--set audit.block=[broken_rows]" in done.stderr
    assert audit(model, path, "--set", "audit.block=[]").exit_code == 0
    assert audit(model, path, "--set", "audit.block=[secret]").exit_code == 2


def test_bad_input_is_exit_2_with_file_and_line(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "q", "completion": "a"}\n{"prompt": "q", \n')
    done = audit(model, path)
    assert done.exit_code == 2
    assert f"{path}:2 is not valid JSON" in done.stderr
    assert audit(model, tmp_path / "none.jsonl").exit_code == 2


def test_the_models_own_template_decides_what_is_cut(model: Path, tmp_path: Path) -> None:
    rows = [{"text": question(n), "label": "a few words"} for n in range(20)]
    rows[7]["label"] = "word " * 30
    rows[9]["label"] = "it ends here <end> or does it"
    path = written(tmp_path / "a.jsonl", rows)
    done = audit(model, path, "--json", "--set", "model.max_length=24")
    found = {item["kind"]: item for item in json.loads(done.stdout)["findings"]}
    assert found["truncated"]["lines"] == {str(path): [8]}
    assert found["control_tokens"]["lines"] == {str(path): [10]}
    # user + question (6 words and a sign), end, assistant, answer, end
    assert json.loads(done.stdout)["lengths"]["tokens"]["median"] == 13


def test_the_copy_is_clean_the_input_untouched_and_every_row_accounted_for(
    model: Path, tmp_path: Path
) -> None:
    rows = [{"text": question(n), "label": f"say {n}", "id": n} for n in range(60)]
    rows[3]["label"] = "token ghp_" + "a1B2" * 9
    rows[5]["label"] = ""
    rows[8]["label"] = "cafÃ© is open"
    rows[9]["label"] = "lost \ufffd"
    rows += [rows[0], rows[1], {"text": question(2), "label": "another", "id": 62}]
    path = written(tmp_path / "a.jsonl", rows)
    test = written(tmp_path / "t.jsonl", [{"text": question(20), "label": "say 20"}])
    before = path.read_bytes()
    out = tmp_path / "clean.jsonl"
    done = audit(model, path, "--test", test, "--fix", out, "--json")
    assert done.exit_code == 3, done.output
    assert path.read_bytes() == before
    kept, aside = read(out), read(tmp_path / "clean.aside.jsonl")
    fixed = json.loads(done.stdout)["fixed"]
    assert fixed["read"] == 63 == fixed["kept"] + fixed["dropped"] + fixed["aside"]
    assert (fixed["kept"], len(kept), fixed["dropped"], fixed["mended"]) == (55, 55, 2, 1)
    reasons = {item["row"]["id"]: item["reason"] for item in aside}
    assert reasons == {
        3: "secrets", 5: "has an empty `label`", 9: "broken_encoding", 20: "leakage",
        2: "contradictions", 62: "contradictions",
    }  # fmt: skip
    assert {item["line"] for item in aside} == {3, 4, 6, 10, 21, 63}
    assert next(row for row in kept if row["id"] == 8)["label"] == "café is open"
    again = audit(model, out, "--json", "--test", test)
    assert again.exit_code == 0
    left = {item["kind"] for item in json.loads(again.stdout)["findings"]}
    assert not left & {"secrets", "broken_rows", "contradictions", "leakage", "exact_duplicates"}


@pytest.mark.parametrize("name", ["a.jsonl", "there.jsonl", "clean.csv"])
def test_the_copy_never_takes_the_place_of_a_file(model: Path, tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.jsonl", [{"text": question(n), "label": "x"} for n in range(9)])
    (tmp_path / "there.aside.jsonl").write_text("mine")
    done = audit(model, path, "--fix", tmp_path / name)
    assert done.exit_code == 2
    assert not (tmp_path / "there.jsonl").exists()


def test_the_stage_writes_the_audit_and_refuses_what_blocks(tmp_path: Path) -> None:
    run, recipe = RunDir(tmp_path / "run"), load("sft")
    rows = [
        Row((Message(role="user", content=question(n)),
             Message(role="assistant", content=f"say {n}")), "my.csv", n + 2)
        for n in range(30)
    ]  # fmt: skip
    write_jsonl(run.train_rows, rows[:20])
    write_jsonl(run.valid_rows, rows[20:25])
    write_jsonl(run.test_rows, rows[25:])
    template = Template(lambda dialogues: [(9, 3) for _ in dialogues], ("<end>",), 100)
    said: list[str] = []
    stage(run, recipe, template, said.append)
    found = read_json(run.audit)
    assert (found["rows"]["train"], found["rows"]["valid"], found["rows"]["test"]) == (20, 5, 5)
    assert "30 rows read: 20 train, 5 valid, 5 test" in said[0]
    turns = (
        Message(role="user", content="q"),
        Message(role="assistant", content="AKIA" + "Q" * 16),
    )
    write_jsonl(run.train_rows, [*rows[:20], Row(turns, "my.csv", 99)])
    with pytest.raises(GateRefused, match=r"my\.csv:99") as caught:
        stage(run, recipe, template, said.append)
    assert caught.value.exit_code == 3
    assert read_json(run.audit)["verdict"] == "block"
    assert not list(run.train_rows.parent.glob(".audit-*"))


def test_the_page_escapes_what_the_rows_say(model: Path, tmp_path: Path) -> None:
    from appliance.report.page import environment
    from appliance.report.shapes_audit import Audit

    rows = [{"text": question(n), "label": f"<b>{n % 2}</b>"} for n in range(80)]
    rows += [{**rows[0], "label": "<script>alert(1)</script>"}] * 2
    done = audit(model, written(tmp_path / "a.jsonl", rows), "--json")
    found = Audit.model_validate_json(done.stdout)
    page = environment().get_template("audit.html.j2").render(audit=found)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "one prompt, different answers" in page
