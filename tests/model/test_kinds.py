"""The other kinds of training: rank-stabilized LoRA, DoRA, and all weights.

Each is trained for two steps on the data and the base's answers of `sft_run`. The rates are high,
so that a part that is lost on the way shows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers import furthest_from_greedy

pytestmark = pytest.mark.model

KINDS = {
    "rank_stabilized": ("adapter.rank_stabilized=true", "train.learning_rate=2e-3"),
    "dora": ("adapter.kind=dora", "train.learning_rate=5e-3"),
    "full": ("adapter.kind=none", "model.bits=16", "train.learning_rate=1e-4"),
}
DIALOGUE = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is Paris."},
]
QUESTIONS = ["How many days are in a week?", "Name a colour.", "My invoice is wrong. What now?"]

# Run with plain transformers: for each folder the logits of the dialogue and greedy answers.
PLAIN = """
import json, sys, torch
from transformers import AutoModelForCausalLM
asked, found = json.load(open(sys.argv[1])), {}
for folder in asked["folders"]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([asked["dialogue"]])).logits[0]
        said = [model.generate(input_ids=torch.tensor([ids]), max_new_tokens=16, do_sample=False)
                [0, len(ids):].tolist() for ids in asked["prompts"]]
    found[folder] = logits, said
assert not {"appliance", "unsloth", "peft"} & set(sys.modules)
torch.save(found, sys.argv[2])
"""


def open_16(**options):
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    loaded = open_model(ModelSection(bits=16), False, **options)
    loaded.model.set_attn_implementation("sdpa")  # as plain transformers: the same to the bit
    return loaded


def in_bf16():
    """Does this processor compute in bf16? Else Unsloth computes in fp32 there."""
    from appliance.model import backend

    return bool(backend.unsloth().is_bfloat16_supported())


def dialogue(loaded):
    from appliance.model.chat import encode

    return encode(loaded.tokenizer, DIALOGUE, 512)


def logits(loaded):
    """Of the dialogue, [tokens, vocabulary] in fp32."""
    import torch

    loaded.model.eval()
    with torch.no_grad():
        ids = torch.tensor([dialogue(loaded).input_ids])
        return loaded.model(input_ids=ids).logits[0].float()


def kl(reference, other):
    """The mean over tokens of KL(reference || other), in nats."""
    p, q = reference.float().log_softmax(-1), other.float().log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.fixture(scope="module")
def runs(sft_run, tmp_path_factory):
    """{kind: a run that was trained by it, and its merged model}.

    Those whose proof is another than LoRA's are exported as by the verb.
    """
    from appliance.export.merge import merge
    from appliance.export.stage import export
    from appliance.model import backend
    from appliance.model.embedded import folder
    from appliance.recipe import load
    from appliance.run import RunDir

    backend.unsloth()  # before transformers
    from appliance.train.skeleton import train

    found = {}
    for kind, sets in KINDS.items():
        root = tmp_path_factory.mktemp(kind) / "run"
        shutil.copytree(sft_run, root, ignore=shutil.ignore_patterns("export", "adapter", "wandb"))
        recipe = load(
            str(root / "recipe.yaml"),
            ["train.max_steps=2", "train.warmup_share=0", "wandb.mode='off'", *sets],
        )
        run = RunDir(root)
        run.create(recipe, force=True)
        train(run, recipe)
        if kind == "rank_stabilized":
            merge(folder(), run.adapter, run.merged, 1.0)
        else:
            export(run, recipe)
        found[kind] = run
    return found


@pytest.fixture(scope="module")
def plain(runs, tmp_path_factory):
    """Of plain transformers: the prompts, and each merged model's (logits, answers)."""
    import torch
    from transformers import AutoTokenizer

    from appliance.model.chat import encode, prompt_ids
    from appliance.model.embedded import folder

    tokenizer = AutoTokenizer.from_pretrained(folder())
    prompts = [prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in QUESTIONS]
    place = tmp_path_factory.mktemp("plain")
    (place / "asked.json").write_text(
        json.dumps(
            {
                "folders": [str(run.merged) for run in runs.values()],
                "dialogue": encode(tokenizer, DIALOGUE, 512).input_ids,
                "prompts": prompts,
            }
        )
    )
    command = [sys.executable, "-c", PLAIN, str(place / "asked.json"), str(place / "found.pt")]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=600)
    assert done.returncode == 0, done.stderr
    found = torch.load(place / "found.pt")
    return SimpleNamespace(prompts=prompts, of={k: found[str(r.merged)] for k, r in runs.items()})


@pytest.mark.parametrize("kind", KINDS)
def test_plain_transformers_says_of_the_merged_model_what_the_appliance_measures(kind, runs, plain):
    from appliance.model import adapter

    if kind == "full" and not in_bf16():
        pytest.skip("NOT tested: this processor has no bf16, in which both sides would compute")
    loaded = open_16()
    base = logits(loaded)
    adapter.attach_saved(loaded, runs[kind].adapter)
    assert not any(module.training for module in loaded.model.modules())
    tuned = logits(loaded)
    merged, said = plain.of[kind]
    with adapter.switched_off(loaded):
        assert logits(loaded).equal(base)
    assert logits(loaded).equal(tuned)
    assert kl(base, tuned) > 0.02
    if kind == "full":  # the very weights
        assert merged.float().equal(tuned)
    else:  # the factors are fp32, the merged weights bf16
        assert kl(tuned, merged) < 0.05 * kl(base, tuned)
    # Its greedy answers are ours, but for ties within what bf16 can tell apart.
    for prompt, answer in zip(plain.prompts, said, strict=True):
        assert furthest_from_greedy(loaded, prompt, answer) < 0.3


def test_the_factors_say_of_what_kind_they_are(runs):
    configs = {
        kind: json.loads((runs[kind].adapter / "adapter_config.json").read_text())
        for kind in ("rank_stabilized", "dora")
    }
    assert {kind for kind, config in configs.items() if config["use_rslora"]} == {"rank_stabilized"}
    assert {kind for kind, config in configs.items() if config["use_dora"]} == {"dora"}


def test_all_weights_are_saved_once_in_the_bases_type_and_all_have_moved(runs):
    from safetensors.torch import load_file

    from appliance.model import full
    from appliance.model.embedded import folder

    place = runs["full"].adapter
    assert {p.name for p in place.iterdir()} == {full.WEIGHTS, full.CONFIG}
    tuned, base = load_file(place / full.WEIGHTS), load_file(folder() / "model.safetensors")
    assert tuned.keys() == base.keys()  # without a second copy of the tied embedding
    assert full.tied(place) == {"lm_head.weight": "model.embed_tokens.weight"}
    assert all(tuned[name].dtype == base[name].dtype for name in base)
    same = [name for name in base if tuned[name].equal(base[name])]
    assert not [name for name in same if "norm" not in name]  # a norm's 1e-4 may be rounded away
    facts = json.loads(runs["full"].train_facts.read_text())
    assert facts["weights_trained"] == facts["weights"] == 134_515_008
    assert facts["rehearsed"]["last_kl"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_strength_0_is_the_base_to_the_bit(kind, runs, tmp_path):
    import torch
    from safetensors.torch import load_file

    from appliance.export.merge import merge
    from appliance.model.embedded import folder

    merge(folder(), runs[kind].adapter, tmp_path / "out", 0.0)
    base, merged = (load_file(p / "model.safetensors") for p in (folder(), tmp_path / "out"))
    assert base.keys() == merged.keys()
    for name, weight in base.items():
        assert weight.view(torch.int16).equal(merged[name].view(torch.int16)), name


def test_a_full_run_is_measured_and_asked_by_the_same_calls(runs):
    from appliance.evaluate.measure import measure
    from appliance.talk import Talk

    if not in_bf16():
        pytest.skip("NOT tested: this processor has no bf16, which full fine-tuning computes in")
    run = runs["full"]
    measure(run, run.recipe(), "after")
    scores = json.loads(run.scores_after.read_text())
    assert scores["bits"] == 16
    assert scores["drift"]["value"] > 0.005
    assert Talk(str(run.root), base=False, system=None, tokens=4).ask("Hello!")["tokens"]


def test_an_untrained_dora_changes_nothing_at_all_and_its_lengths_are_trained(runs):
    import torch
    from safetensors.torch import load_file

    from appliance.model import adapter
    from appliance.model.likelihood import likelihoods
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    loaded = open_model(ModelSection())  # in 4 bit, as it was trained
    row = dialogue(loaded)
    before = likelihoods(loaded, [row])[0].loss
    adapter.attach(loaded, kind="dora", r=16, alpha=16, dropout=0.0,
                   target_modules=("q_proj", "down_proj"), seed=1)  # fmt: skip
    after = likelihoods(loaded, [row], with_kl=True)[0]
    assert after.loss == before
    assert after.kl == 0.0

    lengths = {n: p for n, p in loaded.model.named_parameters() if "magnitude_vector" in n}
    assert len(lengths) == 60
    trained = load_file(runs["dora"].adapter / adapter.WEIGHTS)
    for name, untrained in lengths.items():
        assert untrained.requires_grad
        moved = trained[name.removesuffix(".default.weight")] - untrained
        assert float(moved.abs().mean()) > 1e-3, name
    with torch.no_grad():
        next(iter(lengths.values())).mul_(1.5)
    assert likelihoods(loaded, [row], with_kl=True)[0].kl > 1e-4


def test_doras_row_lengths_are_kept_while_measuring_and_not_over_a_training_step():
    import torch

    from appliance.model import adapter, dora

    loaded = open_16()
    adapter.attach(loaded, kind="dora", r=16, alpha=16, dropout=0.0,
                   target_modules=("down_proj",), seed=1)  # fmt: skip
    counted = []
    original = dora._lengths
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dora, "_lengths", lambda *a: counted.append(1) or original(*a))
        with torch.inference_mode():
            first = logits(loaded)
        assert logits(loaded).equal(first)
        assert len(counted) == 30  # once for each block, and not for each call
        loaded.model.train()
        with torch.no_grad():
            for name, weight in loaded.model.named_parameters():
                if "lora_B" in name:
                    weight.fill_(0.01)
        stepped = logits(loaded)
        assert len(counted) == 60
    assert not stepped.equal(first)
    # What was kept in inference mode can be used where gradients are taken.
    ids = torch.tensor([dialogue(loaded).input_ids])
    loaded.model(input_ids=ids).logits.float().sum().backward()


def test_the_base_in_the_middle_of_a_full_fine_tunings_step():
    """It is exactly the base, the gradients are as without it, and no small change is lost."""
    import torch

    from appliance.model import adapter
    from appliance.model.likelihood import bearing_logprobs, block

    loaded = open_16(whole=True)
    adapter.attach(loaded, kind="none", r=1, alpha=1, dropout=0.0, target_modules=(), seed=0)
    assert adapter.trainable(loaded) == (134_515_008, 134_515_008)
    untrained = logits(loaded)
    inputs, labels = block([dialogue(loaded)], loaded.tokenizer)
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=2e-5)

    def gradients(switch: bool):
        optimizer.zero_grad()
        # Holds bf16 copies of the tuned weights.
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16()):
            tuned, _, target = bearing_logprobs(loaded.model, inputs, labels)
            if switch:
                with torch.no_grad(), adapter.switched_off(loaded):
                    base.append(logits(loaded))
            (-tuned.gather(-1, target[:, None]).mean()).backward()
        return {name: p.grad.clone() for name, p in loaded.model.named_parameters()}

    base: list = []
    gradients(False)
    before = {name: p.detach().clone() for name, p in loaded.model.named_parameters()}
    optimizer.step()
    for name, p in loaded.model.named_parameters():
        assert (p != before[name]).float().mean() > 0.9, name
    with torch.inference_mode(), adapter.switched_off(loaded):  # as the measurements do
        pass
    plain, switched = gradients(False), gradients(True)
    assert all(plain[name].equal(switched[name]) for name in plain)
    assert base[0].equal(untrained)
    assert not logits(loaded).equal(untrained)
