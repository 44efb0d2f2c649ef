"""Alarms and early stopping on the real small model, in trainings made to deserve them."""

from __future__ import annotations

import json
import math
import random

import pytest
from helpers import appliance

pytestmark = pytest.mark.model

NAMES = [a + b for a in ("Ari", "Bel", "Cor", "Dan", "Eli", "Fen", "Gus", "Hal")
         for b in ("ana", "mar", "ton", "vis")]  # fmt: skip
OFF_TASK = {
    "Why is the sea salty?": "Rivers carry salt into it, and it stays when the water goes.",
    "Name a fruit.": "An apple.",
    "How do I boil an egg?": "Put it into boiling water for eight minutes.",
}
FEW = ("data.test_limit=8", "data.valid_share=0.4", "audit.block=[]", "rehearsal.self=false",
       "train.schedule=constant_with_warmup")  # fmt: skip


def codes():
    """Codes that nobody can know: what is learned of them is learned by heart."""
    rng = random.Random(0)
    return {name: rng.sample("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4) for name in NAMES}


def rows():
    return [{"prompt": f"Code of {n}?", "completion": " ".join(c)} for n, c in codes().items()]


def pairs():
    return [
        {
            "prompt": f"Code of {n}?",
            "chosen": f"The code is {' '.join(c)}.",
            "rejected": f"The code is {' '.join(reversed(c))}.",
        }
        for n, c in codes().items()
    ]


def begun(folder, method, data, *overrides):
    """A run whose data stage is done, and that has some answers of a base."""
    from appliance import pipeline
    from appliance.disk import write_jsonl
    from appliance.recipe import load
    from appliance.run import RunDir

    write_jsonl(folder / "rows.jsonl", data)
    recipe = load(method, [f"data.train={folder / 'rows.jsonl'}", *FEW, *overrides])
    run = RunDir(folder / "run")
    run.create(recipe)
    pipeline.data(run, recipe)
    said = [{"prompt": p, "answer": a, "cut": False} for p, a in OFF_TASK.items()]
    write_jsonl(run.base_answers, said)
    return run, recipe


def trained(folder, method, data, *overrides):
    from appliance.train.skeleton import train

    run, recipe = begun(folder, method, data, *overrides)
    train(run, recipe)
    return run


def read(run):
    events = [json.loads(line) for line in run.events.open()]
    metrics = [json.loads(line) for line in run.metrics.open()]
    alarms = {e["name"]: e for e in events if e["kind"] == "alarm"}
    return alarms, events, metrics, json.loads(run.train_facts.read_text())


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory):
    """A dozen rows at twenty-five times the rate."""
    return trained(
        tmp_path_factory.mktemp("by_heart"), "sft", rows(),
        "train.max_steps=24", "train.evaluations=8", "train.patience=1", "train.batch_size=8",
        "train.learning_rate=5e-3", "alarm.held_out_rise=0", "alarm.lower_rate=[drift]",
    )  # fmt: skip


def test_learning_by_heart_raises_the_alarm_and_ends_early(by_heart):
    alarms, events, _, facts = read(by_heart)
    assert "memorizes" in alarms["held_out_rise"]["text"]
    assert alarms["held_out_rise"]["step"] == facts["steps"]
    assert facts["stopped_early"]
    assert facts["stopped_by_alarm"] is None
    assert facts["steps"] < 24
    notes = [e["text"] for e in events if e["kind"] == "note"]
    assert any("ended early" in t and f"step {facts['best_step']}" in t for t in notes)


def test_the_adapter_kept_is_the_best_one_measured(by_heart):
    from appliance.model import adapter
    from appliance.model.load import open_model
    from appliance.train import sft

    _, _, metrics, facts = read(by_heart)
    held = {m["step"]: m["held_out_loss"] for m in metrics if "held_out_loss" in m}
    best = min(held, key=held.get)
    last = max(held)
    assert (facts["best_step"], facts["held_out_loss"]) == (best, held[best])
    assert best < last == facts["steps"]
    recipe = by_heart.recipe()
    loaded = open_model(recipe.model)
    _, valid, _ = sft.rows(by_heart, loaded)
    adapter.attach_saved(loaded, by_heart.adapter)
    again = sft.held_out(loaded, valid, recipe)()
    assert again == pytest.approx(held[best], rel=0.01)
    assert again != pytest.approx(held[last], rel=0.01)


def test_a_high_rate_drifts_and_the_rate_is_halved_from_there(by_heart):
    alarms, _, metrics, _ = read(by_heart)
    alarm = alarms["drift"]
    assert alarm["action"] == "lower_rate"
    assert alarm["drift"] > 0.25
    rates = {m["step"]: m["learning_rate"] for m in metrics if "learning_rate" in m}
    at = alarm["step"]
    assert rates[at] == pytest.approx(5e-3)
    after = [rate for step, rate in rates.items() if step > at]
    assert after == pytest.approx([2.5e-3] * len(after))
    assert after
    # Nothing is learned in the first step of the warm-up: the base against itself.
    assert next(m["drift"] for m in metrics if "drift" in m and m["step"] == 1) == 0.0


def test_pairs_that_hardly_differ_make_both_answers_fall_and_training_stops_there(tmp_path):
    run = trained(
        tmp_path, "dpo", pairs(),
        "train.max_steps=8", "train.evaluations=2", "train.batch_size=4", "dpo.beta=0.05",
        "train.learning_rate=4e-3", "alarm.margin_over=0.01", "alarm.stop=[chosen_falls]",
    )  # fmt: skip
    alarms, _, metrics, facts = read(run)
    assert alarms["chosen_falls"]["chosen"] < -10
    assert alarms["chosen_falls"]["action"] == "stop"
    assert facts["stopped_by_alarm"] == "chosen_falls"
    assert alarms["margin_over"]["action"] == "warn"
    assert "loss_under" not in alarms
    assert (run.adapter / "adapter_model.safetensors").is_file()
    assert all(m["held_out_loss"] > 0 for m in metrics if "held_out_loss" in m)


def test_an_absurd_rate_ends_with_one_sentence_and_exit_1(tmp_path):
    run, _ = begun(
        tmp_path, "sft", rows(), "train.max_steps=4", "train.evaluations=0", "train.batch_size=4",
        "train.learning_rate=1e30",
    )  # fmt: skip
    run.scores_before.write_text("{}")
    run.base_answers.unlink()  # no drift: the loss alone has to show it
    done = appliance("train", str(run.recipe_file), "--run", str(run.root))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "training loss is nan" in done.stderr
    assert "Lower train.learning_rate" in done.stderr.splitlines()[-1]
    alarms = [json.loads(line) for line in run.events.open() if '"alarm"' in line]
    assert [a["name"] for a in alarms] == ["not_finite"]
    assert not run.adapter.exists()


@pytest.fixture(scope="module")
def loaded():
    from appliance.model import adapter
    from appliance.model.load import open_model
    from appliance.sections.source import ModelSection

    loaded = open_model(ModelSection())
    adapter.attach(loaded, r=16, alpha=16, dropout=0.0, target_modules=("q_proj", "v_proj"), seed=1)
    loaded.model.train()
    return loaded


def test_measures_start_at_the_base_and_the_best_weights_come_back(loaded, tmp_path):
    import torch

    from appliance.train import dpo
    from appliance.train.best import Best
    from appliance.train.measures import Drift

    run, recipe = begun(tmp_path, "dpo", pairs())
    _, valid, _ = dpo.rows(run, loaded)
    held_out, drift = dpo.held_out(loaded, valid, recipe), Drift(run, recipe, loaded)
    assert held_out() == pytest.approx(math.log(2), abs=1e-9)
    assert drift() == 0.0
    best = Best(0)
    best.copy(loaded.model)
    assert all("lora_" in name for name in best.weights)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.05)
    assert drift() > 0.01
    assert held_out() != pytest.approx(math.log(2), abs=1e-4)
    best.restore(loaded.model)
    assert drift() == 0.0
    assert loaded.model.training


def test_half_the_rate_is_half_of_every_later_rate_of_the_schedule():
    import torch
    from transformers import get_scheduler

    from appliance.train.watch import halve

    def rates(halved_after):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=1e-3)
        scheduler = get_scheduler("linear", optimizer, num_warmup_steps=2, num_training_steps=10)
        found = []
        for step in range(10):
            found.append(optimizer.param_groups[0]["lr"])
            assert scheduler.get_last_lr() == found[-1:]  # which is what is logged
            optimizer.step()
            scheduler.step()
            if step == halved_after:
                halve(optimizer, scheduler)
        return found

    plain, halved = rates(None), rates(4)
    assert halved[:5] == plain[:5]
    assert halved[5:] == pytest.approx([rate / 2 for rate in plain[5:]])


def test_the_tasks_own_loss_is_told_apart_from_what_is_beside_it():
    import torch

    from appliance.train.measures import TaskLoss, heard_by

    class Base:
        model_accepts_loss_kwargs = False
        current_gradient_accumulation_steps = 2

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            return torch.tensor(float(inputs))

    task = TaskLoss()

    class Beside(heard_by(Base, task)):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs) + 10

    trainer = Beside()
    assert [float(trainer.compute_loss(None, value)) for value in (1, 2)] == [11, 12]
    assert task.take() == 1.5  # the mean over the step's two micro-batches
    assert task.take() is None
