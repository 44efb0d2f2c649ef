"""One path before and after: nothing trained is a difference of exactly zero."""

from __future__ import annotations

import pytest
from helpers import furthest_from_greedy, in_fp32

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def loaded():
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    return open_model(ModelSection())


@pytest.fixture(scope="module")
def precise():
    return in_fp32()


DIALOGUE = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is Paris."},
]


def test_training_tokens_are_the_tokens_asked_at_inference(loaded):
    from appliance.model.chat import IGNORE, encode, prompt_ids

    row = encode(loaded.tokenizer, DIALOGUE, 512)
    asked = prompt_ids(loaded.tokenizer, DIALOGUE[:1])
    assert row.input_ids[: len(asked)] == asked
    assert row.labels[: len(asked)] == [IGNORE] * len(asked)
    assert row.input_ids[-1] == loaded.tokenizer.eos_token_id
    assert row.labels[-1] == loaded.tokenizer.eos_token_id


def test_every_answer_of_a_dialogue_carries_loss(loaded):
    from appliance.model.chat import encode, mark

    marked = mark(loaded.tokenizer, encode(loaded.tokenizer, DIALOGUE * 2, 512))
    assert marked.count("⟦The capital of France is Paris.<|im_end|>⟧") == 2


def test_a_row_that_is_cut_says_so(loaded):
    from appliance.model.chat import encode

    row = encode(loaded.tokenizer, DIALOGUE, 16)
    assert row.cut
    assert len(row.input_ids) == 16
    assert row.bearing == 0


def test_the_base_answers_and_stops(loaded):
    from appliance.model.chat import generate

    answer = generate(loaded, [DIALOGUE[:1]], 64)[0]
    assert "Paris" in answer.text
    assert not answer.cut


@pytest.mark.parametrize("model", ["loaded", "precise"])
def test_a_cpu_decodes_what_generate_does_and_lets_rows_go_that_have_ended(model, request):
    import torch

    from appliance.model import backend
    from appliance.model.chat import ends_of_turn, prompt_ids
    from appliance.model.decode import decode, picker

    loaded = request.getfixturevalue(model)
    asked = ["Say yes.", "What is 2 + 2?", "Name a colour.", "Tell me a story about a fox.", "Hi."]
    ids = [prompt_ids(loaded.tokenizer, [{"role": "user", "content": a}]) for a in asked]
    ends = ends_of_turn(loaded)
    sizes = []
    hook = loaded.model.lm_head.register_forward_pre_hook(
        lambda module, given: sizes.append(given[0].shape[0])
    )
    told = decode(loaded.model, ids, 24, ends, 0, picker(None))
    hook.remove()
    assert sizes[1] == 5 > sizes[-1]  # the first call is what all begin with, one row
    backend.fast_model().for_inference(loaded.model)
    for row, tokens in zip(ids, told, strict=True):
        out = loaded.model.generate(
            input_ids=torch.tensor([row]), max_new_tokens=24, do_sample=False,
            pad_token_id=0, eos_token_id=ends,
        )[0, len(row):].tolist()  # fmt: skip
        # In 4 bit, where the processor has bf16, two tokens as likely may change places.
        near = model == "loaded" and furthest_from_greedy(loaded, row, tokens) < 0.3
        assert tokens == out or near


def test_tokens_are_drawn_by_their_probabilities_among_the_likeliest():
    import torch

    from appliance.model.decode import Sampling, picker

    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0]]).expand(20_000, -1)
    drawn = picker(Sampling(0.5, 3, 7))(logits).bincount(minlength=4) / 20_000
    expected = torch.tensor([6.0, 2.0, 4.0]).softmax(0)  # logits / 0.5, the least likely left out
    assert drawn[3] == 0
    assert drawn[:3].tolist() == pytest.approx(expected.tolist(), abs=0.015)
    again = picker(Sampling(0.5, 3, 7))(logits).bincount(minlength=4) / 20_000
    assert torch.equal(drawn, again)


def test_a_batch_says_the_same_as_one_by_one(precise):
    from appliance.model.chat import encode
    from appliance.model.likelihood import likelihoods

    other = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello, friend."}]
    rows = [encode(precise.tokenizer, d, 512) for d in (DIALOGUE, other)]
    together = likelihoods(precise, rows)
    alone = [likelihoods(precise, [row])[0] for row in rows]
    for a, b in zip(together, alone, strict=True):
        assert a.tokens == b.tokens
        assert a.loss == pytest.approx(b.loss, rel=1e-4)


def test_the_loss_is_transformers_own(loaded):
    import torch

    from appliance.model.chat import encode
    from appliance.model.likelihood import likelihoods

    row = encode(loaded.tokenizer, DIALOGUE, 512)
    mine = likelihoods(loaded, [row])[0]
    with torch.no_grad():
        theirs = loaded.model(
            input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])
        ).loss
    assert mine.loss / mine.tokens == pytest.approx(float(theirs), rel=1e-2)


def test_the_output_layer_reads_many_prompts_as_one_matrix(loaded):
    """Else torch copies its weight for each of them, where it is frozen: by an adapter."""
    from appliance.model.chat import generate

    seen = []
    layer = loaded.model.get_output_embeddings()
    hook = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    generate(loaded, [DIALOGUE[:1], [{"role": "user", "content": "Name a colour."}]], 4)
    hook.remove()
    assert {hidden.shape[0] for hidden in seen} == {1, 2}  # what both begin with, then both
    assert all(hidden.is_contiguous() for hidden in seen)


def test_an_untrained_adapter_changes_nothing_at_all(loaded):
    from appliance.model import adapter
    from appliance.model.chat import encode, generate
    from appliance.model.likelihood import likelihoods

    row = encode(loaded.tokenizer, DIALOGUE, 512)
    before = likelihoods(loaded, [row])[0].loss
    said = generate(loaded, [DIALOGUE[:1]], 24)
    adapter.attach(loaded, r=16, alpha=16, dropout=0.0, target_modules=("q_proj", "v_proj"), seed=1)
    after = likelihoods(loaded, [row], with_kl=True)[0]
    assert after.loss == before
    assert after.kl == 0.0
    assert generate(loaded, [DIALOGUE[:1]], 24) == said


@pytest.mark.parametrize(
    ("longest", "set_by_hand", "expected"),
    [(60, None, (8, 1)), (600, None, (2, 4)), (9000, None, (1, 8)), (60, 5, (4, 2))],
)
def test_the_micro_batch_holds_few_enough_tokens_and_the_effective_batch_stays(
    longest, set_by_hand, expected, monkeypatch
):
    from appliance.model import backend
    from appliance.recipe import load
    from appliance.train.batch import batches, micro_batch

    monkeypatch.setattr(backend, "on_gpu", lambda: False)
    recipe = load("sft", [f"train.micro_batch={set_by_hand or 'null'}"])
    micro = micro_batch(recipe, longest)
    found = batches(recipe, micro)
    assert tuple(found.values()) == expected
    assert list(found) == ["per_device_train_batch_size", "gradient_accumulation_steps"]


def test_a_base_without_a_template_is_asked_in_a_plain_one(tmp_path, loaded):
    """Its answers end where it would go on with the next turn, and the merge carries the form."""
    import json

    from appliance.export.merge import merge
    from appliance.model import adapter, plain
    from appliance.model.chat import encode, generate, mark
    from appliance.model.count import template
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection
    from appliance.train.dialogues import write

    base = tmp_path / "base"
    base.mkdir()
    for path in loaded.ref.folder.iterdir():
        if path.name == "tokenizer_config.json":
            config = json.loads(path.read_text())
            config.pop("chat_template", None)
            (base / path.name).write_text(json.dumps(config))
        elif path.name != plain.FILE:
            (base / path.name).symlink_to(path)
    section = ModelSection(name=str(base))
    plainly = open_model(section)
    row = mark(plainly.tokenizer, encode(plainly.tokenizer, DIALOGUE, 512))
    assert row.endswith("Assistant:⟦ The capital of France is Paris.<|im_end|>⟧")
    answer = generate(plainly, [DIALOGUE[:1]], 48)[0]
    assert "Paris" in answer.text
    assert "User:" not in answer.text
    dialogues, _ = write(plainly, 8, 1)
    assert len(dialogues) == 8
    assert not any("Assistant:" in d.prompt or "User:" in d.answer for d in dialogues)
    assert template(section).count([DIALOGUE])[0][1] > 5
    adapter.attach(plainly, r=4, alpha=4, dropout=0.0, target_modules=("q_proj",), seed=1)
    adapter.save(plainly, tmp_path / "adapter")
    merge(base, tmp_path / "adapter", tmp_path / "merged", 1.0)
    assert (tmp_path / "merged" / plain.FILE).read_text() == plain.TEMPLATE
