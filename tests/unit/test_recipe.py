"""The recipe: strict, typed, and overrides that keep what they say."""

from pathlib import Path

import pytest
import yaml

from appliance.errors import RecipeError
from appliance.recipe import Recipe, build, find, keys, load, shipped_folder

SHIPPED = {"sft", "sft-domain-shift", "dpo"}


def test_every_shipped_recipe_loads_and_there_are_three():
    found = {path.stem for path in shipped_folder().rglob("*.yaml")}
    assert found == SHIPPED
    for name in found:
        assert load(name).warnings() == [], name


def test_shipped_recipes_are_short_and_hold_only_known_keys():
    for path in shipped_folder().glob("*.yaml"):
        assert len(path.read_text().splitlines()) <= 45, path


def test_the_documented_defaults():
    sft, dpo = load("sft"), load("dpo")
    assert (sft.adapter.r, sft.adapter.alpha, sft.adapter.dropout) == (16, 64, 0.0)
    assert len(sft.adapter.target_modules) == 7
    assert (sft.train.learning_rate, sft.train.weight_decay) == (2e-4, 0.01)
    assert (sft.train.batch_size, sft.train.schedule) == (8, "warmup_stable_decay")
    assert (dpo.train.batch_size, dpo.train.schedule) == (16, "linear")
    assert sft.train.epochs == 3
    assert load("sft-domain-shift").adapter.r == 64
    assert (dpo.train.learning_rate, dpo.dpo.beta) == (5e-6, 0.1)


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("train.epoch=1", "train.epochs"),
        ("epochs=2", "train.epochs"),
        ("adapter.rank=8", "adapter.r"),
        ("trian.epochs=1", "train"),
        ("data.colums.prompt=x", "columns"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(override, near):
    with pytest.raises(RecipeError) as caught:
        load("sft", [override])
    assert near in caught.value.do


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.weight_decay=0", "weight_decay", 0),
        ("train.gradient_checkpointing=false", "gradient_checkpointing", False),
        ("train.max_steps=null", "max_steps", None),
        ("train.learning_rate=1e-4", "learning_rate", 1e-4),
    ],
)
def test_overrides_keep_zero_false_and_null(text, key, value):
    base = ["train.gradient_checkpointing=true", "train.max_steps=5"]
    assert getattr(load("sft", [*base, text]).train, key) == value


def test_an_empty_string_stays_an_empty_string():
    assert load("sft", ["data.system="]).data.system == ""


def test_a_rate_written_as_2e_4_in_a_file_is_a_number(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("train: {learning_rate: 2e-4}\n")
    assert load(str(path)).train.learning_rate == 2e-4


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("adapter.r=8", "outside 16-64"),
        ("adapter.r=128", "outside 16-64"),
        ("train.epochs=5", "memorize"),
        ("train.learning_rate=1e-3", "forget more"),
        ("train.learning_rate=1e-5", "learn little"),
    ],
)
def test_values_outside_the_documented_ranges_warn_and_run(override, said):
    assert any(said in text for text in load("sft", [override]).warnings())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.learning_rate=2e-5"], None),
        (["train.learning_rate=2e-5", "adapter.r=1"], None),  # there is no rank
        ([], "outside the documented 5e-06 to 2e-05 for sft of all weights: it will forget more"),
        (["method=dpo", "train.learning_rate=5e-7"], None),
        (["method=dpo", "train.learning_rate=5e-6"], "outside the documented 5e-07 for dpo of all"),
    ],
)
def test_training_all_weights_has_rates_of_its_own(overrides, said):
    recipe = load("sft", ["adapter.kind=none", "model.bits=16", *overrides])
    found = recipe.warnings()
    assert len(found) == (said is not None)
    assert not found or said in found[0]


def test_training_all_weights_needs_16_bits():
    with pytest.raises(RecipeError, match=r"adapter\.kind: none .* model\.bits: 4") as caught:
        load("sft", ["adapter.kind=none"])
    assert "model.bits=16" in caught.value.do
    assert load("sft", ["adapter.kind=none", "model.bits=16"]).adapter.kind == "none"


@pytest.mark.parametrize("kind", ["none", "dora"])
def test_ewc_is_for_lora_alone(kind):
    sets = [f"adapter.kind={kind}", "model.bits=16"]
    with pytest.raises(RecipeError, match=rf"ewc\.strength .* adapter\.kind is {kind}"):
        load("sft", [*sets, "ewc.strength=1"])
    assert load("sft", [*sets, "ewc.strength=0"]).ewc.strength == 0
    assert load("sft", ["ewc.strength=1", "adapter.kind=lora"]).ewc.strength == 1


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "train: [", "just text", "train: 3\n", "method: grpo\n", "\x00"]
)
def test_a_wrong_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load(str(path))
    assert caught.value.do


def test_a_missing_recipe_names_the_shipped_and_the_nearest():
    with pytest.raises(RecipeError) as caught:
        find("sft-domain-shif")
    assert "sft-domain-shift" in caught.value.do


def test_the_dump_is_the_recipe():
    recipe = load("dpo", ["data.limit=7"])
    assert build(yaml.safe_load(recipe.dump()), "dump") == recipe


def test_every_key_has_a_description():
    assert [name for name, field in keys() if not field.description and "." in name] == [
        name for name, field in keys() if field.default.__class__.__module__ == "appliance.sections"
    ]


def test_the_recipe_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().method = "dpo"


def test_a_shipped_recipe_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("recipes/sft.yaml") == shipped_folder() / "sft.yaml"
    assert Path(find("dpo")).is_file()


def test_the_page_of_keys_is_what_the_schema_says():
    from appliance.recipe_docs import page

    docs = Path(__file__).parents[2] / "docs" / "recipes.md"
    assert docs.read_text() == page(), "python -m appliance.recipe_docs > docs/recipes.md"


def test_off_means_off_though_yaml_reads_it_as_false():
    assert load("sft", ["wandb.mode=off"]).wandb.mode == "off"
