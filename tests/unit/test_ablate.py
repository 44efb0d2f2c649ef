"""Ablation without a model: arms, plans, sums by hand, what is recommended, and going on."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from appliance import pipeline
from appliance.ablate import work as module
from appliance.ablate.arms import ARMS, Arm, choose, parse
from appliance.ablate.folder import Folder, Plan
from appliance.ablate.plot import svg
from appliance.ablate.recommend import Point, pareto, recommend
from appliance.ablate.results import failure, gather
from appliance.ablate.table import tables, text
from appliance.cli import main
from appliance.disk import read_json, write_json, write_jsonl
from appliance.errors import DataError, RecipeError, RunError, TrainingFailed
from appliance.recipe import Recipe, load
from appliance.run import RunDir, hold
from appliance.statistics import nested

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


def plan_of(*names, seeds=1, sets=()):
    return Plan.of("sft", sets, choose(names), seeds)


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


# --- sums by hand


def scores(task, leak, kl=(), loss=1.0, safety=(1.0, 0.0), piqa=(1.0, 1.0)):
    return {
        "axes": {"format": {"items": [1.0]}, "safety": {"items": list(safety)}},
        "benchmarks": {"piqa": {"metrics": {"acc": {"items": list(piqa)}}}},
        "task": {"metric": "exact_match", "items": task},
        "habit_leak": {"items": leak},
        "drift": {
            "items": [
                {"id": str(i), "kl": k, "loss": loss + i, "tokens": 2 + i} for i, k in enumerate(kl)
            ]
        },
    }


def write_run(run, recipe, before, after, seconds=(), key=None, cached=False):
    """A finished run, by hand. `seconds`: of its stages."""
    run.create(recipe)
    write_json(run.scores_before, before)
    write_json(run.scores_after, after)
    own = {"from": "cache" if cached else "the base itself", "key": key}
    write_json(run.rehearsal_facts, {"rows": 8, "sources": {"self": own} if key else {}})
    write_json(run.manifest, {"versions": {"torch": "2"}, "machine": {"cores": 2}})
    for stage, took in dict(seconds).items():
        run.event("stage", stage, seconds=took)
    for path in (run.train_rows, run.valid_rows, run.test_rows, run.base_answers):
        write_jsonl(path, [])
    for path in (run.answers_before, run.audit, run.data_facts, run.verdict):
        write_json(path, {})


BASE = scores([0, 0, 1, None], [False, False, False, True])


@pytest.fixture
def two_arms(tmp_path):
    """plain gains 2 of 3 and leaks 3 of 4; kl gains 1 of 3 and leaks the one that the base does."""
    folder, plan = Folder(tmp_path / "a"), plan_of("plain", "kl")
    folder.create(plan)
    plain, kl = plan.arms
    write_run(
        folder.run("plain", 3407), plan.recipe(plain, 3407), BASE,
        scores([1, 1, 1, 1], [True, True, False, True], [0.5, 1.5], 1.0, (None, 1.0), (1.0, 0.0)),
        {"data": 1, "baseline": 10, "rehearse": 0, "train": 100, "evaluate": 20, "gate": 0},
    )  # fmt: skip
    write_run(
        folder.run("kl", 3407), plan.recipe(kl, 3407), BASE,
        scores([1, 0, 1, 0], [False, False, False, True], [0.1, 0.3], loss=2.0),
        {"data": 1, "baseline": 10, "rehearse": 30, "train": 120, "evaluate": 20, "gate": 0}, "k",
    )  # fmt: skip
    return folder, plan


def test_the_sums_are_those_done_by_hand(two_arms):
    found = gather(*two_arms)["arms"]
    plain, kl = found["plain"], found["kl"]
    # The fourth row was not scored before: it is in no mean.
    assert plain["gain"]["value"] == pytest.approx(2 / 3)
    assert (plain["gain"]["n"], plain["gain"]["groups"]) == (3, 1)
    assert (plain["before"]["value"], plain["after"]["value"]) == (pytest.approx(1 / 3), 1)
    assert plain["habit_leak"]["value"] == 3 / 4
    assert plain["retention"]["value"] == 1 - 2 / 4  # one leaked before: that is not lost
    assert kl["retention"]["value"] == 1
    assert kl["drift"]["value"] == pytest.approx(0.2)
    assert plain["loss"]["value"] == pytest.approx((2 * 1.0 + 3 * 2.0) / 5)  # by token
    assert kl["loss"]["value"] == pytest.approx((2 * 2.0 + 3 * 3.0) / 5)
    assert plain["training_seconds"]["value"] == 100
    assert kl["training_seconds"]["value"] == 150
    assert kl["seconds"]["value"] == 181
    # Safety: one right answer is out of form now, one got right. The benchmark: one of two lost.
    assert set(plain["axes"]) == {"safety", "piqa"}
    assert plain["axes"]["safety"]["value"] == 0
    assert plain["axes"]["piqa"]["value"] == -1 / 2
    assert kl["axes"]["piqa"]["value"] == 0
    less = kl["to_plain"]
    assert less["gain"]["value"] == pytest.approx(-1 / 3)
    assert less["retention"]["value"] == pytest.approx(0.5)
    assert less["drift"]["value"] == pytest.approx(-0.8)
    assert less["training_seconds"]["value"] == 50
    assert plain["to_plain"] is None


def test_a_weighted_mean_has_a_weighted_interval():
    found = nested([[0.0] * 50 + [1.0] * 50], [[99.0] * 50 + [1.0] * 50])
    assert found["value"] == pytest.approx(0.01)
    assert found["interval"][1] < 0.02


def test_a_share_of_all_or_none_has_an_interval_all_the_same(two_arms):
    kept = gather(*two_arms)["arms"]["kl"]["retention"]
    assert kept["interval"][0] == pytest.approx(0.5101, abs=1e-4)  # Wilson, 4 of 4


def test_every_arm_pays_for_the_dialogues_that_one_wrote(two_arms):
    folder, old = two_arms
    plan = Plan.of("sft", (), [*old.arms, ARMS["kl3"]], 1)
    write_run(
        folder.run("kl3", 3407), plan.recipe(ARMS["kl3"], 3407), BASE, BASE,
        {"rehearse": 1, "train": 120}, "k", cached=True,
    )  # fmt: skip
    found = gather(folder, plan)
    assert found["arms"]["kl3"]["training_seconds"]["value"] == 150
    assert found["rehearsal_was_in_the_cache"] is False


def test_dialogues_that_no_run_wrote_are_said(two_arms):
    folder, plan = two_arms
    facts = {"rows": 8, "sources": {"self": {"from": "cache", "key": "k"}}}
    write_json(folder.run("kl", 3407).rehearsal_facts, facts)
    found = gather(folder, plan)
    assert found["rehearsal_was_in_the_cache"] is True


def test_the_nested_interval_is_wider_than_that_of_items_where_seeds_differ():
    alike = nested([[0.0, 1.0] * 50, [0.0, 1.0] * 50])
    apart = nested([[0.0] * 90 + [1.0] * 10, [1.0] * 90 + [0.0] * 10])
    assert alike["value"] == apart["value"] == 0.5
    assert alike["n"] == apart["n"] == 200
    low, high = apart["interval"]
    assert low < 0.15
    assert high > 0.85
    assert alike["interval"][0] > 0.4


def test_of_one_group_it_is_the_plain_bootstrap():
    from appliance.statistics import mean

    values = [0.0, 1.0, 2.0, 3.0, 10.0] * 8
    assert nested([values])["interval"] == pytest.approx(mean(values)["interval"], abs=0.15)


def test_a_failed_arm_is_in_the_table_with_its_sentence(two_arms):
    folder, old = two_arms
    plan = Plan.of("sft", (), [*old.arms, ARMS["dora"]], 1)
    run = folder.run("dora", 3407)
    run.create(plan.recipe(ARMS["dora"], 3407))
    run.event("error", "The loss is not finite.")
    found = gather(folder, plan)
    found["recommended"], found["why"] = recommend(found["arms"])
    assert found["arms"]["dora"]["failed"] == {"3407": "The loss is not finite."}
    assert "dora, seed 3407, failed: The loss is not finite." in text(found)
    assert [row[0] for row in tables(found)[0].rows] == ["plain", "kl", "dora"]


def test_where_nothing_can_leak_what_is_kept_is_told_by_drift(two_arms):
    folder, plan = two_arms
    for arm in ("plain", "kl"):
        for path in (folder.run(arm, 3407).scores_before, folder.run(arm, 3407).scores_after):
            write_json(path, read_json(path) | {"habit_leak": {"items": [None] * 4}})
    found = gather(folder, plan)
    found["recommended"], found["why"] = recommend(found["arms"])
    assert "exp(-drift)" in text(found)
    assert "exp(-drift)" in svg(found)


def test_the_plot_holds_its_numbers_for_who_does_not_see_it(two_arms):
    found = svg(gather(*two_arms))
    assert found.startswith("<svg")
    assert "<desc" in found
    assert "plain: gain 67 points, 50 % kept." in found
    assert ">kl</text>" in found  # text, not drawn outlines
    assert "currentColor" in found
    assert "<metadata" not in found


# --- the recommendation


def arms(**points):
    """name=(gain, retention) or (gain, retention, drift)."""
    return {
        name: {
            "gain": {"value": gain}, "retention": {"value": kept, "interval": (0, 1)},
            "drift": {"value": rest[0] if rest else 0.1, "interval": (0, 1)},
        }
        for name, (gain, kept, *rest) in points.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name", "said"),
    [
        (arms(plain=(0.50, 0.1), kl=(0.48, 0.9), kl3=(0.40, 1.0)), "kl", "95% of plain's gain"),
        (arms(plain=(0.50, 0.1), kl=(0.52, 0.8), both=(0.48, 0.9)), "both", "plain's gain"),
        (arms(kl=(0.50, 0.6), kl3=(0.49, 0.8), ewc=(0.2, 1.0)), "kl3", "the largest gain"),
        (arms(plain=(0.50, 0.1), kl=(0.40, 0.9), ewc=(0.1, 1.0)), "kl", "No remedy"),
        (arms(plain=(0.50, 1.0), kl=(0.49, 0.9)), "plain", "plain's gain"),
        (arms(plain=(0.50, 0.0), ewc=(0.50, 0.02), kl=(0.40, 1.0)), "kl", "keeps 90%"),
        (arms(plain=(0.50, 0.9, 0.3), kl=(0.50, 0.9, 0.1)), "kl", "plain's gain"),
        (arms(plain=(-0.1, 0.5), kl=(0.4, 0.5)), "kl", "the largest gain"),
        (arms(plain=(0.5, None, 0.8), kl=(0.49, None, 0.1)), "kl", "plain's gain"),
        (arms(plain=(0.0, 0.5), kl=(-0.1, 1.0)), None, "none gained"),
        (arms(plain=(None, None)), None, "none gained"),
    ],
)
def test_what_is_recommended(given, name, said):
    found, why = recommend(given)
    assert found == name
    assert said in why


def test_the_front_is_of_those_that_none_beats():
    found = [Point(n, g, k, (0, 1), 0) for n, g, k in [("a", 1, 0), ("b", 0, 1), ("c", 0, 0.5)]]
    assert [p.name for p in pareto(found)] == ["a", "b"]


def test_the_recommended_recipe_is_the_arm_and_holds_differences_only(two_arms):
    folder, plan = two_arms
    found = gather(folder, plan) | {"recommended": "kl", "why": "It keeps most."}
    module.recommend.write(folder, plan, found)
    assert load(str(folder.recommended)) == plan.recipe(ARMS["kl"])
    written = folder.recommended.read_text()
    assert "learning_rate" not in written
    assert "#   gain: 0.333 [" in written
    assert "n=3" in written


# --- going on


@pytest.fixture
def stages(monkeypatch):
    """The pipeline's stages without a model: each writes its files and is counted."""
    done = []

    def go(run, recipe, last):
        assert last == "gate"
        done.append(run.root.name)
        if run.root.name.startswith("dora"):
            raise TrainingFailed("The loss is not finite.", "Lower the rate.")
        for stage, path in (("data", run.data_facts), ("baseline", run.scores_before)):
            if not path.is_file():
                done.append(f"{stage} of {run.root.name}")
                run.event("stage", stage, seconds=7.0)
        write_run(run, recipe, BASE, BASE, {"rehearse": 1, "train": 3})

    monkeypatch.setattr(pipeline, "go", go)
    monkeypatch.setattr("appliance.manifest.write", lambda run, recipe: None)
    return done


def ablate(folder, plan):
    folder.create(plan)
    return module.work(folder, plan)


def test_arms_of_a_seed_share_rows_and_baseline_and_another_base_is_measured_anew(
    tmp_path, stages, capsys
):
    folder = Folder(tmp_path / "a")
    found = ablate(folder, plan_of("plain", "kl", "lora16", seeds=2))
    assert [text for text in stages if "of" in text] == [
        f"{stage} of {run}"
        for seed in (3407, 3408)
        for stage, run in [
            ("data", f"plain-{seed}"), ("baseline", f"plain-{seed}"), ("baseline", f"lora16-{seed}")
        ]
    ]  # fmt: skip
    # Shared or not, a run is priced as if it had been alone.
    assert found["arms"]["kl"]["seconds"]["value"] == 18
    said = capsys.readouterr().err
    assert "[1/6] plain-3407" in said
    assert "left for 5 runs" in said
    assert "anchor.kl" not in said  # what a run says is in its own log
    assert "rehearsal.self: None -> True" in folder.run("kl", 3407).told.read_text()


def test_the_same_command_does_not_do_again_what_is_done(tmp_path, stages):
    folder, plan = Folder(tmp_path / "a"), plan_of("plain", "kl")
    ablate(folder, plan)
    folder.run("kl", 3407).verdict.unlink()  # as if it had been killed in its last stage
    stages.clear()
    ablate(folder, plan)
    assert stages == ["kl-3407"]


def test_a_copy_that_was_cut_short_is_made_again(tmp_path, stages):
    folder, plan = Folder(tmp_path / "a"), plan_of("plain", "kl")
    ablate(folder, plan)
    run = folder.run("kl", 3407)
    for path in (run.verdict, run.data_facts, run.scores_before):  # each the last of its stage
        path.unlink()
    stages.clear()
    ablate(folder, plan)
    assert stages == ["kl-3407"]  # and neither data nor baseline of it


def test_an_arm_that_fails_is_recorded_and_the_others_go_on(tmp_path, stages, capsys):
    folder, plan = Folder(tmp_path / "a"), plan_of("plain", "dora", "kl")
    found = ablate(folder, plan)
    assert "The loss is not finite." in found["arms"]["dora"]["failed"]["3407"]
    assert found["arms"]["kl"]["gain"]["n"] == 3
    assert "dora-3407 FAILED: The loss is not finite. Lower the rate." in capsys.readouterr().err
    stages.clear()
    ablate(folder, plan)
    assert stages == ["dora-3407"]  # it is tried again


def test_rows_that_nobody_can_have_end_it_at_once(tmp_path, monkeypatch):
    def go(run, recipe, last):
        raise DataError("mine.jsonl is empty.")

    monkeypatch.setattr(pipeline, "go", go)
    folder = Folder(tmp_path / "a")
    with pytest.raises(DataError):
        ablate(folder, plan_of("plain", "kl"))
    assert not folder.run("kl", 3407).root.exists()


def test_another_process_in_the_folder_is_refused(tmp_path):
    said = pytest.raises(RunError, match="another --out")
    with hold(tmp_path, "--out"), said, Folder(tmp_path).lock():
        pass


def test_a_run_takes_rows_and_baseline_whole(tmp_path):
    mine, other = RunDir(tmp_path / "mine"), RunDir(tmp_path / "other")
    write_run(other, Recipe(), BASE, BASE)
    write_jsonl(other.train_rows, [{"a": "ä"}])
    mine.take_data(other)
    mine.take_baseline(other)
    assert mine.train_rows.read_bytes() == other.train_rows.read_bytes()
    assert mine.audit.is_file()
    assert mine.scores_before.is_file()
    assert not mine.scores_after.exists()


# --- the verb


@pytest.fixture
def verb(tmp_path, monkeypatch, stages):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPLIANCE_VERBOSE", "1")
    return lambda *arguments: CliRunner().invoke(main, ["ablate", *arguments])


def test_the_verb_prints_the_table_and_leaves_the_page(verb, tmp_path):
    done = verb("--arms", "plain,kl", "--arm", "soft:anchor.kl=0.1", "--seeds", "1")
    assert done.exit_code == 0, done.output
    assert "| soft " in done.stdout
    page = (tmp_path / "runs" / "ablate-sft" / "ablate.html").read_text()
    assert "<h2>Less plain" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


def test_json_is_json_and_a_failure_is_exit_1(verb):
    done = verb("--arms", "plain,dora", "--seeds", "1", "--json")
    assert done.exit_code == 1
    assert list(json.loads(done.stdout)["arms"]) == ["plain", "dora"]


def test_an_interruption_is_no_failure_and_says_what_goes_on(verb, tmp_path, monkeypatch):
    def go(run, recipe, last):
        write_json(run.data_facts, {})
        run.event("stage", "data", seconds=1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "go", go)
    done = verb("--arms", "plain,kl")
    assert done.exit_code == 130
    assert "The same command goes on" in done.output
    assert failure(Folder(tmp_path / "runs" / "ablate-sft").run("plain", 3407)) is None


def test_wrong_use_is_exit_2_and_makes_nothing(verb, tmp_path):
    for arguments, said in [
        (["--arms", "plian"], "Did you mean plain?"),
        (["--arms", ""], "No arm"),
        (["--arm", "x:train.epoch=1"], "train.epochs"),
    ]:
        done = verb(*arguments)
        assert done.exit_code == 2
        assert said in done.output
    assert not (tmp_path / "runs").exists()


def test_bad_rows_leave_no_half_of_an_ablation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPLIANCE_VERBOSE", "1")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    arguments = ["ablate", "--model", "model", "--data", "nope.jsonl", "--out", "a"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "nope.jsonl" in done.output
    assert not (tmp_path / "a").exists()


def test_the_arms_can_be_listed(verb):
    assert "rehearsal+kl" in verb("--arms", "list").stdout
