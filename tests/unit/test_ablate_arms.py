"""Which arms there are, and the plan that a folder belongs to."""

from __future__ import annotations

import pytest
from made_runs import plan_of

from appliance.ablate.arms import ARMS, Arm, choose, parse
from appliance.ablate.folder import Folder, Plan
from appliance.disk import read_json
from appliance.errors import RecipeError, RunError
from appliance.recipe import load

# --- arms


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("shipped", ["sft", "dpo"])
def test_every_arm_is_a_recipe(name, shipped):
    recipe = ARMS[name].recipe(shipped)
    assert ARMS[name].text
    assert (recipe == load(shipped)) is (name == "default")
    rehearsing = "rehearsal" in name or "kl" in name or "ewc" in name or name == "default"
    assert recipe.rehearses is rehearsing, name


def test_the_arms_are_what_they_say():
    plain, rate = ARMS["plain"].recipe("sft"), ARMS["low_rate"].recipe("sft")
    assert rate.train.learning_rate == plain.train.learning_rate / 4
    assert ARMS["low_rate"].recipe("sft", ["train.learning_rate=1e-4"]).train.learning_rate == 25e-6
    full = ARMS["full"].recipe("sft")
    assert (full.adapter.kind, full.model.bits, full.train.learning_rate) == ("none", 16, 2e-5)
    wide = ARMS["rank64"].recipe("sft", ["adapter.r=8", "adapter.alpha=16"]).adapter
    assert (wide.r, wide.alpha) == (64, 128)  # more weights at the same scale
    kl, both = ARMS["kl"].recipe("sft"), ARMS["rehearsal+kl"].recipe("sft")
    assert (kl.rehearsal.loss, kl.anchor.kl, kl.rehearsal.share_of_rows) == (0, 1, 0.2)
    assert (both.rehearsal.loss, both.anchor.kl) == (1, 1)


def test_plain_is_plain_whatever_the_recipe_rehearses():
    given = ["rehearsal.sources=[mine.jsonl]", "ewc.strength=2", "anchor.kl=3"]
    assert load("sft", given).rehearses
    assert not ARMS["plain"].recipe("sft", given).rehearses
    assert ARMS["kl"].recipe("sft", given).rehearsal.sources == ()  # the base's own alone


def test_an_unknown_arm_names_the_nearest_and_all():
    with pytest.raises(RecipeError) as caught:
        choose(["plain", "rehersal"])
    assert "Did you mean rehearsal?" in caught.value.do
    assert all(name in caught.value.do for name in ARMS)


def test_an_arm_can_be_written():
    arm = parse("half:anchor.kl=0.5,adapter.target_modules=[q_proj,v_proj],train.epochs=1")
    recipe = arm.recipe("sft")
    assert recipe.adapter.target_modules == ("q_proj", "v_proj")
    assert (recipe.anchor.kl, recipe.train.epochs) == (0.5, 1)


@pytest.mark.parametrize("text", ["half", "half:", "half:kl", "../x:anchor.kl=1", ":anchor.kl=1"])
def test_an_arm_that_is_none_is_refused(text):
    with pytest.raises(RecipeError, match="not name:key=value"):
        parse(text)


@pytest.mark.parametrize("key", ["data.limit=5", "evaluate.answer_tokens=9", "train.seed=1"])
def test_an_arm_cannot_change_what_arms_share(key):
    with pytest.raises(RecipeError, match="arms share"):
        parse(f"mine:{key}").recipe("sft")


def test_an_arm_cannot_be_named_twice():
    with pytest.raises(RecipeError, match="twice"):
        choose(["kl"], ["kl:anchor.kl=2"])


# --- the plan


def test_another_plan_in_the_same_folder_is_refused_with_the_difference(tmp_path):
    folder = Folder(tmp_path / "a")
    folder.create(plan_of("plain", "kl"))
    folder.create(plan_of("plain", "kl"))
    for other, said in [
        (plan_of("plain", "kl3"), "arm kl3 is new; arm kl is gone"),
        (plan_of("plain", "kl", seeds=2), r"seeds: \[3407\] -> \[3407, 3408\]"),
        (plan_of("plain", "kl", sets=["train.epochs=1"]), r"train\.epochs: 3.* -> 1"),
    ]:
        with pytest.raises(RunError, match=said):
            folder.create(other)
    folder.create(plan_of("plain", "kl3"), force=True)
    assert list(read_json(folder.plan)["arms"]) == ["plain", "kl3"]


def test_force_sets_aside_what_another_recipe_made_and_keeps_the_rest(tmp_path):
    folder, old = Folder(tmp_path / "a"), plan_of("plain", "kl")
    folder.create(old)
    for arm in old.arms:
        folder.run(arm.name, 3407).create(old.recipe(arm, 3407))
    mine = Arm("kl", "Another.", ("anchor.kl=9",))
    folder.create(Plan.of("sft", (), [ARMS["plain"], mine], 1), force=True)
    names = sorted(p.name for p in (folder.root / "runs").iterdir())
    assert names == ["kl-3407.old1", "plain-3407"]


def test_a_folder_with_other_things_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="other files"):
        Folder(tmp_path).create(plan_of("plain"))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
