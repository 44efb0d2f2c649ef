"""What an ablation comes to: sums by hand, and what is recommended."""

from __future__ import annotations

import pytest
from made_runs import BASE, plan_of, scores, write_run

from appliance.ablate import work as module
from appliance.ablate.arms import ARMS
from appliance.ablate.folder import Folder, Plan
from appliance.ablate.plot import plot
from appliance.ablate.recommend import Point, pareto, recommend
from appliance.ablate.results import gather
from appliance.ablate.table import tables, text
from appliance.disk import read_json, write_json
from appliance.recipe import load
from appliance.statistics import nested


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
    assert "exp(-drift)" in plot(found).svg


def test_the_plot_holds_its_numbers_for_who_does_not_see_it(two_arms):
    found = plot(gather(*two_arms)).svg
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
