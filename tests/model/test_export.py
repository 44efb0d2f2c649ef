"""What ships is what was trained: the forms, llama.cpp's among them, and a proof that can fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from helpers import appliance

pytestmark = pytest.mark.model
KINDS = ("q8_0", "q4_k_m")


def read(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def exported(sft_run, tmp_path_factory):
    """The run with two kinds of GGUF."""
    run = tmp_path_factory.mktemp("export") / "small"
    shutil.copytree(sft_run, run, ignore=shutil.ignore_patterns("export", "wandb"))
    forms = [word for kind in KINDS for word in ("--format", f"gguf:{kind}")]
    done = appliance("export", str(run), *forms, "--format", "adapter", "--format", "gguf:lora")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def copy(exported, tmp_path):
    """The same to spoil."""
    run = tmp_path / "run"
    shutil.copytree(exported, run)
    return run


def base():
    from appliance.model.embedded import folder

    return folder()


def weights(run):
    """The claim about them."""
    from appliance.export import claims
    from appliance.export.questions import plainly
    from appliance.run import RunDir

    found = RunDir(run)
    job = claims.comparing(found, base(), 1.0, found.merged)
    return claims.weights("merged", plainly([job])[0])


def test_every_claim_about_every_form_holds(exported):
    proof = read(exported / "export" / "proof.json")
    assert proof["holds"]
    names = {(check["form"], check["name"]) for check in proof["checks"]}
    assert {("merged", name) for name in ("same", "stops", "weights", "files")} <= names
    assert ("adapter", "same") in names
    assert {("gguf:lora", name) for name in ("weights", "loads")} <= names
    assert all(name.endswith("stops") for name in proof["not_measured"])  # no answer may have ended
    for kind in KINDS:
        claims = ("same", "stops", "tokens", "ends", "template")
        assert {(f"gguf:{kind}", name) for name in claims} <= names
    same = next(c for c in proof["checks"] if (c["form"], c["name"]) == ("merged", "same"))
    assert same["facts"]["kl"]["n"] > 50
    assert not (exported / "export" / "UNUSABLE").exists()


def test_the_files_are_there_with_their_hashes(exported):
    from appliance.disk import sha256

    facts = read(exported / "export" / "export.json")
    assert {f"gguf/small-{kind}.gguf" for kind in (*KINDS, "lora")} <= set(facts["files"])
    for name, digest in facts["files"].items():
        assert sha256(exported / "export" / name) == digest
    assert {p.name for p in (exported / "export" / "gguf").iterdir()} == {
        "small-lora.gguf", *(f"small-{kind}.gguf" for kind in KINDS),
        *(f"Modelfile-{kind}" for kind in KINDS),
    }  # fmt: skip


def test_llama_cpp_itself_answers_and_stops(exported):
    from appliance.export.llamacpp import Gguf

    model = Gguf(str(exported / "export" / "gguf" / "small-q8_0.gguf"))
    ids = model.tokens(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    said: list[int] = []
    while len(said) < 40 and not (said and model.ends(said[-1])):
        said.append(int(model.logits([*ids, *said], [len(ids) + len(said) - 1])[0].argmax()))
    assert model.ends(said[-1])
    assert len(said) > 2


@pytest.mark.parametrize("form", ["merged", "adapter", "gguf/small-q8_0.gguf"])
def test_each_form_can_be_asked(exported, form):
    """By the verb, as a user does."""
    path = exported / "export" / form
    words = ("--prompt", "What is the capital of France?", "--json", "--tokens", "40")
    done = appliance("chat", str(path), *words)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["tokens"] > 1
    assert said["answer"].strip()
    assert "<|im_" not in said["answer"]


def test_what_is_no_whole_gguf_file_is_said_to_be_none(tmp_path):
    path = tmp_path / "broken.gguf"
    for write, said in ((lambda: None, "There is no file"), (lambda: path.write_bytes(b"GGUF"),
                                                            "cannot load")):  # fmt: skip
        write()
        done = appliance("chat", str(path), "--prompt", "Hello?")
        assert done.returncode == 2
        assert said in done.stderr


def test_the_card_says_what_the_files_say_and_holds_no_row(exported):
    from huggingface_hub import ModelCard

    from appliance.disk import read_jsonl

    card = ModelCard.load(exported / "export" / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert card.data.eval_results[0].metric_type == "exact_match"
    after = read(exported / "scores_after.json")
    assert card.data.eval_results[0].metric_value == pytest.approx(after["task"]["value"], abs=1e-4)
    for check in read(exported / "export" / "proof.json")["checks"]:
        assert check["text"] in card.text
    for source in read(exported / "manifest.json")["data"]:
        assert source["sha256"] in card.text
        assert source["path"] not in card.text
    for row in read_jsonl(exported / "data" / "train.jsonl"):
        assert row["messages"][-2]["content"] not in card.text
    assert "data.limit: set" in card.text


def test_a_base_that_was_swapped_is_refused_and_the_export_stays(copy, tmp_path):
    other = tmp_path / "base"
    shutil.copytree(base(), other)
    with (other / "model.safetensors").open("r+b") as file:
        file.seek(-1000, 2)
        file.write(b"\x01" * 1000)
    recipe = copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("name: embedded", f"name: {other}"))
    before = read(copy / "export" / "export.json")
    done = appliance("export", str(copy), "--force")
    assert done.returncode == 2
    assert "not the base" in done.stderr
    assert read(copy / "export" / "export.json") == before


def test_plain_peft_loads_the_adapter_at_half_its_strength(copy):
    done = appliance("export", str(copy), "--format", "adapter", "--strength", "0.5", "--force")
    assert done.returncode == 0, done.stderr
    before = read(copy / "adapter" / "adapter_config.json")["lora_alpha"]
    assert read(copy / "export" / "adapter" / "adapter_config.json")["lora_alpha"] == before / 2


def test_a_wrong_alpha_turns_the_proof_red(copy):
    config = copy / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(read(config) | {"lora_alpha": 4 * read(config)["lora_alpha"]}))
    assert not weights(copy).holds


def test_a_transposed_factor_turns_the_proof_red(copy):
    from safetensors.torch import load_file, save_file

    path = copy / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(n for n in tensors if n.endswith("layers.3.self_attn.o_proj.lora_B.weight"))
    tensors[name] = tensors[name].T.reshape(tensors[name].shape).contiguous()
    save_file(tensors, path)
    found = weights(copy)
    assert list(found.facts["off"]) == ["model.layers.3.self_attn.o_proj.weight"]


def test_a_factor_that_llama_cpp_would_read_otherwise_turns_the_proof_red(copy):
    """Its rows as PEFT has them: llama.cpp's converter turns those of queries and keys."""
    from gguf import GGUFReader
    from safetensors.torch import load_file

    from appliance.export import claims
    from appliance.run import RunDir

    path = copy / "export" / "gguf" / "small-lora.gguf"
    name = "base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight"
    mine = load_file(copy / "adapter" / "adapter_model.safetensors")[name].float().numpy()
    written = GGUFReader(path, "r+")
    tensor = next(t for t in written.tensors if t.name == "blk.2.attn_q.weight.lora_b")
    tensor.data[:] = mine
    written.data.flush()
    checks = claims.of_lora(RunDir(copy), base(), 1.0, {"gguf:lora": path})
    assert [check.holds for check in checks] == [False, None]
    assert list(checks[0].facts["off"]) == ["blk.2.attn_q.weight"]


# llama.cpp's own server, over a base, with or without an adapter: the tokens of greedy answers.
SERVED = """
import json, sys
import xllamacpp
base, adapter, room, asked = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.load(sys.stdin)
how = xllamacpp.CommonParams()
how.model.path, how.n_ctx, how.n_parallel, how.warmup = base, 1024, 1, False
if adapter:
    how.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
server = xllamacpp.Server(how)
found = []
for text in asked:
    said = server.handle_completions(
        {"prompt": text, "max_tokens": room, "temperature": 0, "logprobs": 1}
    )
    found.append([token["id"] for token in said["choices"][0]["logprobs"]["content"]])
print(json.dumps(found))
"""


def test_llama_cpp_itself_lays_the_adapter_over_the_base(exported, tmp_path):
    """Token by token as PEFT does, up to where one is as likely as another; and not as the base."""
    from appliance.export import gguf
    from appliance.export.questions import ROOM, Questions, plainly
    from appliance.run import RunDir

    run = RunDir(exported)
    questions = Questions(run, run.recipe(), base(), "float32", tmp_path)
    plainly([questions.answering(1.0)])
    asked = questions.asked
    path = gguf.write(base(), tmp_path, ["bf16"], "base")["bf16"]

    def served(adapter):
        done = subprocess.run(
            [sys.executable, "-c", SERVED, str(path), str(adapter), str(ROOM)],
            input=json.dumps([q["text"] for q in asked]), capture_output=True, text=True,
            timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    def alike(said):
        """Share of the tokens before the answers part."""
        same = total = 0
        for question, mine in zip(asked, said, strict=True):
            theirs = [t for t in question["answer"] if t not in question["ends"]]
            parts = [a != b for a, b in zip(mine, theirs, strict=False)] + [True]
            same, total = same + parts.index(True), total + len(theirs)
        return same / total

    assert alike(served(exported / "export" / "gguf" / "small-lora.gguf")) > 0.8
    assert alike(served("")) < 0.6


def test_a_forgotten_layer_turns_the_proof_red_and_is_named(copy):
    from safetensors.torch import load_file, save_file

    path = copy / "export" / "merged" / "model.safetensors"
    tensors, name = load_file(path), "model.layers.7.mlp.up_proj.weight"
    tensors[name] = load_file(base() / "model.safetensors")[name]
    save_file(tensors, path, metadata={"format": "pt"})
    found = weights(copy)
    assert list(found.facts["off"]) == [name]
    assert name in found.text


def test_an_end_of_turn_that_was_changed_turns_the_proof_red(copy):
    path = copy / "export" / "merged" / "generation_config.json"
    path.write_text(json.dumps(read(path) | {"eos_token_id": 0}))
    from appliance.export.claims import files

    assert files("merged", base(), copy / "export" / "merged").facts["other"] == [path.name]


def test_a_corrupted_shard_ends_the_export_as_unusable(copy, monkeypatch):
    from appliance.errors import ProofFailed
    from appliance.export import stage
    from appliance.run import RunDir

    merge = stage.merge

    def corrupting(base, adapter, target, strength):
        facts = merge(base, adapter, target, strength)
        with (target / "model.safetensors").open("r+b") as file:
            file.seek(-40_000_000, 2)
            file.write(b"\x01" * 4_000_000)
        return facts

    monkeypatch.setattr(stage, "merge", corrupting)
    run = RunDir(copy)
    with pytest.raises(ProofFailed, match="is not what was trained") as caught:
        stage.export(run, run.recipe(), formats=["merged"], force=True)
    assert caught.value.exit_code == 1
    assert "Do not serve it" in caught.value.do
    assert run.unusable.is_file()
    assert not run.export_facts.exists()


def test_prompts_too_long_for_the_proof_are_left_out_of_it(copy):
    """And where there are no others it asks general ones."""
    from appliance.disk import read_jsonl, write_jsonl
    from appliance.export.questions import _prompts, tokenizer_of
    from appliance.run import RunDir

    run, tokenizer = RunDir(copy), tokenizer_of(base())
    before = _prompts(run, run.recipe(), tokenizer)
    rows = read_jsonl(run.test_rows)
    for row in rows:
        row["messages"][-2]["content"] = "My printer is on fire. " * 400
    write_jsonl(run.test_rows, rows)
    short = _prompts(run, run.recipe(), tokenizer)
    assert len(before) == 12
    assert len(short) == 6
    run.base_answers.unlink()
    assert _prompts(run, run.recipe(), tokenizer)[0] == [{"role": "user", "content": "Hello."}]


@pytest.mark.parametrize(
    ("gib", "kind"), [(64, "float32"), (1.5, "bfloat16"), (1.1, None), (None, "float32")]
)
def test_what_the_memory_does_not_hold_is_not_claimed(monkeypatch, gib, kind):
    from appliance import memory
    from appliance.export import proof

    monkeypatch.setattr(memory, "free", lambda: None if gib is None else int(gib * memory.GIB))
    assert proof._arithmetic(base())[0] == kind


def test_a_form_that_could_not_be_asked_is_said_to_be_open(copy, monkeypatch):
    from appliance import memory
    from appliance.export import stage
    from appliance.run import RunDir

    monkeypatch.setattr(memory, "free", lambda: memory.GIB)
    run = RunDir(copy)
    stage.export(run, run.recipe(), formats=["merged"], force=True)
    proof = read(run.proof)
    assert proof["holds"]
    assert proof["not_measured"] == ["merged: same"]
    assert {c["name"]: c["holds"] for c in proof["checks"]} == {
        "weights": True, "files": True, "same": None,
    }  # fmt: skip
    assert "not measured, merged: what it says" in run.card.read_text()


def test_an_unknown_format_is_refused_with_those_that_there_are(copy):
    done = appliance("export", str(copy), "--format", "gguf:q3")
    assert done.returncode == 2
    assert "gguf:q4_k_m" in done.stderr
    assert (copy / "export" / "export.json").is_file()


def test_a_model_that_the_converter_does_not_know_leaves_nothing_half_written(copy):
    from appliance.errors import ModelError
    from appliance.export import gguf

    config = copy / "export" / "merged" / "config.json"
    config.write_text(json.dumps(read(config) | {"architectures": ["Unheard"]}))
    before = {p.name for p in (copy / "export" / "gguf").iterdir()}
    with pytest.raises(ModelError, match="converter cannot convert"):
        gguf.write(copy / "export" / "merged", copy / "export" / "gguf", ["q8_0"], "other")
    assert {p.name for p in (copy / "export" / "gguf").iterdir()} == before
