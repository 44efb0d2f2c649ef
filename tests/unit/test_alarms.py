"""Alarms on hand-made series: each rises where it should, once, and never on a healthy training."""

from __future__ import annotations

import math

import pytest

from appliance.recipe import load
from appliance.train.alarms import (
    Drift,
    Epochs,
    FirstEpochUnder,
    HeldOutRise,
    LossUnder,
    NotFinite,
    alarms,
)
from appliance.train.alarms_dpo import AccuracyAtOnce, ChosenFalls, MarginOver
from appliance.train.best import Best, hint
from appliance.train.measures import HELD_OUT_ROWS, Pace, sample

# The demo by the defaults, as it was measured: 616 rows, 77 steps an epoch.
DEMO = """
7.48 8.31 7.77 8.15 7.91 7.85 7.36 7.00 6.30 5.99 5.24 4.93 4.09 3.68 3.41 2.65 2.44 2.10 1.97
1.42 1.29 1.55 1.31 1.39 1.16 1.43 1.20 1.18 1.10 0.94 0.79 0.98 0.61 0.63 0.63 0.48 0.53 0.83
0.79 0.64 0.53 0.57 0.50 0.47 0.38 0.27 0.27 0.14 0.23 0.15 0.23 0.17 0.26 0.31 0.69 0.45 0.32
0.18 0.25 0.28 0.10 0.14 0.30 0.28 0.17 0.27 0.22 0.17 0.04 0.07 0.06 0.14 0.26 0.28 0.42 0.29
0.19 0.08 0.07 0.17 0.24 0.28 0.07 0.13 0.14 0.16 0.05 0.07 0.05 0.13 0.09 0.12 0.21 0.23 0.14
0.12 0.19 0.05 0.07 0.07 0.03 0.05 0.04 0.06 0.04 0.10 0.17 0.08 0.11 0.13 0.08 0.06 0.10 0.13
0.20 0.18 0.10 0.08 0.05 0.04 0.02 0.09 0.06 0.12 0.17 0.04 0.09 0.04 0.04 0.05 0.04 0.05 0.09
0.09 0.04 0.03 0.06 0.13 0.11 0.03 0.06 0.05 0.35 0.12 0.04 0.06 0.23 0.05 0.02 0.01 0.05 0.05
0.04 0.01 0.04 0.01 0.01 0.01 0.06 0.01 0.03 0.02 0.01 0.07 0.04 0.05 0.03 0.09 0.03 0.03 0.06
0.14 0.11 0.02 0.01 0.01 0.00 0.02 0.00 0.01 0.06 0.01 0.07 0.01 0.01 0.14 0.07 0.06 0.05 0.03
0.30 0.13 0.00 0.01 0.02 0.04 0.02 0.02 0.05 0.03 0.01 0.01 0.01 0.00 0.01 0.01 0.01 0.03 0.06
0.01 0.02 0.00 0.02 0.00 0.03 0.01 0.00 0.00 0.05 0.02 0.05 0.03 0.00 0.00 0.01 0.01 0.01 0.02
0.12 0.07 0.02
"""
DEMO_HELD_OUT = {58: 0.251, 116: 0.148, 173: 0.044, 231: 0.035}


def steps(losses, per_epoch=39, held_out=(), **more):
    """One record a step, and one for each held-out loss measured after it."""
    for step, loss in enumerate(losses, 1):
        place = {"step": step, "epoch": step / per_epoch}
        yield {**place, "loss": loss, "grad_norm": 1.0} | {k: v[step - 1] for k, v in more.items()}
        if step in held_out:
            yield {**place, "held_out_loss": held_out[step]}


def raised(alarm, records, held_out_now=None):
    """(step, finding) of each; where the alarm asks, the held-out loss is measured at once."""
    out = []
    for record in records:
        fed = [record]
        for each in fed:
            found = alarm.feed(each)
            if found:
                out.append((each["step"], found))
            if alarm.asks and len(fed) == 1 and held_out_now is not None:
                fed.append({"step": each["step"], "epoch": each["epoch"],
                            "held_out_loss": held_out_now})  # fmt: skip
    return out


def names(found):
    return [(step, finding.name, finding.rises) for step, finding in found]


FALLING = [2.0 * 0.9**i for i in range(60)]  # under 0.2 from step 23, its mean of ten from step 28


def test_a_loss_under_the_level_rises_once_where_the_held_out_loss_is_high():
    found = raised(LossUnder(0.2, 60, True), steps(FALLING, held_out={45: 1.2}), 0.9)
    assert names(found) == [(28, "loss_under", True)]
    assert "0.900" in found[0][1].text
    assert found[0][1].numbers["held_out_loss"] == 0.9
    assert found[0][1].numbers["loss"] < 0.2


def test_it_is_held_back_with_one_note_where_the_held_out_loss_is_as_low():
    held = {40: 0.15, 50: 0.12}
    found = raised(LossUnder(0.2, 60, True), steps(FALLING, held_out=held), 0.19)
    assert names(found) == [(28, "loss_under", False)]
    assert "as low" in found[0][1].text


def test_what_was_held_back_rises_at_a_later_measurement_that_is_high():
    found = raised(LossUnder(0.2, 60, True), steps(FALLING, held_out={40: 0.4}), 0.19)
    assert names(found) == [(28, "loss_under", False), (40, "loss_under", True)]


def test_without_held_out_rows_the_level_alone_decides():
    assert names(raised(LossUnder(0.2, 60, False), steps(FALLING))) == [(28, "loss_under", True)]


def test_one_low_loss_among_high_ones_is_no_alarm():
    noisy = [0.05 if i % 4 == 0 else 0.4 for i in range(40)]
    alarm = LossUnder(0.2, 40, False)
    assert raised(alarm, steps(noisy)) == []
    assert not alarm.asks


def test_a_low_loss_on_rows_never_seen_before_rises_in_the_first_epoch_only():
    low = [0.15] * 60
    found = raised(FirstEpochUnder(0.2, 60), steps(low, per_epoch=40))
    assert names(found) == [(10, "first_epoch_under", True)]
    for high in (25, 40):  # learned by the end of the first epoch, or after it
        late = [1.0] * high + [0.05] * 40
        assert raised(FirstEpochUnder(0.2, 80), steps(late, per_epoch=40)) == []


def test_an_epoch_shorter_than_the_smoothing_is_judged_at_its_end():
    found = raised(FirstEpochUnder(0.2, 12), steps([0.1] * 12, per_epoch=4))
    assert names(found) == [(4, "first_epoch_under", True)]


def test_a_held_out_loss_that_rises_while_the_training_loss_falls():
    held = {10: 1.0, 20: 0.8, 30: 0.87, 40: 0.95, 50: 1.4}
    found = raised(HeldOutRise(0.1, 60), steps(FALLING, held_out=held))
    assert names(found) == [(40, "held_out_rise", True)]
    assert found[0][1].numbers["best_step"] == 20
    assert "0.800 to 0.950" in found[0][1].text


def test_a_held_out_loss_that_rises_with_the_training_loss_is_another_matter():
    rising = [0.5 + 0.02 * i for i in range(60)]
    assert raised(HeldOutRise(0.1, 60), steps(rising, held_out={20: 0.8, 40: 1.2})) == []


def test_a_held_out_loss_that_another_alarm_asked_for_is_no_rise():
    alarm = HeldOutRise(0.1, 60)
    records = list(steps(FALLING, held_out={20: 0.8}))
    asked = {"step": 24, "held_out_loss": 1.2, "planned": False}
    assert raised(alarm, [*records, asked]) == []
    assert names(raised(alarm, [{**asked, "planned": True}])) == [(24, "held_out_rise", True)]


def test_drift_over_the_budget_rises_once():
    records = [{"step": s, "epoch": 0.1, "drift": d} for s, d in [(5, 0.1), (9, 0.3), (13, 0.5)]]
    found = raised(Drift(0.25), records)
    assert names(found) == [(9, "drift", True)]
    assert found[0][1].numbers == {"drift": 0.3, "budget": 0.25}


@pytest.mark.parametrize("key", ["loss", "grad_norm", "held_out_loss", "drift"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_found(key, value):
    alarm = NotFinite()
    assert alarm.feed({"step": 1, "epoch": 0.1, "loss": 2.0, "grad_norm": 1.0}) is None
    found = alarm.feed({"step": 2, "epoch": 0.1, key: value})
    assert found.name == "not_finite"
    assert "step 2" in found.text


def test_passes_over_the_level_rise_where_the_first_step_beyond_begins():
    found = raised(Epochs(3, 20), steps([1.0] * 20, per_epoch=5))
    assert names(found) == [(15, "epochs", True)]
    assert "Step 16" in found[0][1].text
    assert raised(Epochs(3, 15), steps([1.0] * 15, per_epoch=5)) == []


def pairs(count, chosen, rejected, accuracy=0.7):
    """Rewards that grow by so much a step."""
    for step in range(1, count + 1):
        c, r = chosen * step, rejected * step
        yield {"step": step, "epoch": step / count, "loss": 0.6, "grad_norm": 1.0,
               "rewards/chosen": c, "rewards/rejected": r, "rewards/margins": c - r,
               "rewards/accuracies": accuracy}  # fmt: skip


def test_chosen_and_rejected_that_fall_together_rise():
    # beta 0.1: a reward of -1 is 10 nats; the mean of ten is reached at step 15 (0.1 a step).
    found = raised(ChosenFalls(0.1, 40), pairs(40, -0.1, -0.2))
    assert names(found) == [(15, "chosen_falls", True)]
    assert found[0][1].numbers["chosen"] == pytest.approx(-10.5)


@pytest.mark.parametrize(("chosen", "rejected"), [(0.1, -0.2), (-0.02, -0.2), (-0.2, 0.1)])
def test_rewards_that_part_as_they_should_are_no_fall(chosen, rejected):
    assert raised(ChosenFalls(0.1, 40), pairs(40, chosen, rejected)) == []


def test_a_margin_that_explodes_rises_once():
    found = raised(MarginOver(10, 40), pairs(40, 0.5, -0.5))
    assert names(found) == [(15, "margin_over", True)]
    assert raised(MarginOver(10, 40), pairs(40, 0.05, -0.05)) == []


def test_pairs_that_are_right_at_once_rise_and_pairs_learned_later_do_not():
    found = raised(AccuracyAtOnce(100), pairs(100, 0.1, -0.1, accuracy=1.0))
    assert names(found) == [(5, "accuracy_at_once", True)]
    later = [dict(r) | {"rewards/accuracies": min(1.0, 0.5 + r["step"] / 30)}
             for r in pairs(100, 0.1, -0.1)]  # fmt: skip
    assert raised(AccuracyAtOnce(100), later) == []
    # A short run: five steps in a row, of which the first has margins of zero.
    short = [dict(r) | {"rewards/accuracies": float(r["step"] > 1)} for r in pairs(11, 0.1, -0.1)]
    assert names(raised(AccuracyAtOnce(11), short)) == [(6, "accuracy_at_once", True)]


def test_the_demo_by_the_defaults_raises_nothing_and_notes_once_that_it_is_easy():
    losses = [float(word) for word in DEMO.split()]
    assert len(losses) == 231
    found = []
    for alarm in alarms(load("sft"), 231, True):
        records = [*steps(losses, per_epoch=77, held_out=DEMO_HELD_OUT),
                   {"step": 231, "epoch": 3, "drift": 0.03}]  # fmt: skip
        found += raised(alarm, records, 0.1)
    assert names(found) == [(69, "loss_under", False)]


def test_a_healthy_dpo_raises_nothing():
    healthy = [dict(r) | {"rewards/accuracies": min(0.85, 0.5 + r["step"] / 40),
                          "rewards/margins": 0.02 * r["step"]}
               for r in pairs(60, 0.01, -0.02)]  # fmt: skip
    healthy += [{"step": 60, "epoch": 1, "held_out_loss": 0.6, "drift": 0.02}]
    kinds = alarms(load("dpo"), 60, True)
    assert [names(raised(alarm, healthy)) for alarm in kinds] == [[]] * len(kinds)


def test_levels_of_the_loss_are_of_sft_alone_and_every_alarm_of_the_schema_is_there():
    from typing import get_args

    from appliance.sections.training import AlarmName

    sft = {alarm.name for alarm in alarms(load("sft"), 9, True)}
    dpo = {alarm.name for alarm in alarms(load("dpo"), 9, True)}
    assert "loss_under" not in dpo
    assert sft | dpo == set(get_args(AlarmName))


def test_patience_counts_losses_in_a_row_that_are_no_better():
    best = Best(2)
    over = []
    for step, loss in enumerate([1.0, 0.8, 0.9, 0.7, 0.7, 0.71], 1):
        best.feed(step, loss)
        over.append(best.over)
    assert over == [False, False, False, False, False, True]
    assert (best.step, best.loss) == (4, 0.7)


def test_patience_of_zero_never_ends_and_what_was_not_planned_does_not_count():
    never, once = Best(0), Best(1)
    for step in range(1, 9):
        never.feed(step, 1.0 * step)
        once.feed(step, 1.0 * step, planned=False)
    assert not never.over
    assert not once.over
    assert once.step == 1


def test_a_loss_that_is_no_number_is_never_the_best():
    best = Best(2)
    assert not best.feed(1, math.nan)
    assert best.step == 0


@pytest.mark.parametrize(
    ("losses", "overrides", "said"),
    [
        ([0.249, 0.133, 0.117], [], "adapter.r=32"),
        ([0.9, 0.5], ["train.epochs=1"], "train.epochs=2"),
        ([0.9, 0.5], ["train.max_steps=50"], "max_steps"),
        ([0.9, 0.5], ["adapter.r=64"], "more rows"),
        ([0.9, 0.5, 0.48], [], ""),
        ([0.9, 0.5, 0.6], [], ""),
        ([0.020, 0.015], [], ""),
        ([0.9], [], ""),
    ],
)
def test_a_held_out_loss_still_falling_at_the_end_suggests_what_would_help(losses, overrides, said):
    text = hint(load("sft", overrides), losses)
    assert said in text
    assert bool(text) == bool(said)


def test_the_drift_takes_a_twentieth_of_the_time():
    pace, now, at = Pace(400), 0.0, []
    for step in range(1, 401):
        now += 1.0
        if pace.due(step, now):
            at.append(step)
            pace.cost = 2.0
            pace.spent += pace.cost
            now += pace.cost
    assert at[0] == 20
    assert pace.spent <= 0.05 * now
    assert len(at) >= 9  # and it is used


def test_few_held_out_rows_are_measured_of_many_and_always_the_same():
    recipe = load("sft")
    rows = list(range(5000))
    assert sample(rows, recipe, 100_000) == sample(rows, recipe, 100_000)
    assert len(sample(rows, recipe, 100_000)) == HELD_OUT_ROWS
    # 4 evaluations of 45 rows at a third of a step's work are 10 % of 600 rows.
    assert len(sample(rows, recipe, 600)) == 45
    assert sample(rows[:9], recipe, 600) == rows[:9]


def test_a_training_begun_again_counts_from_its_last_beginning(tmp_path):
    from appliance.report.summary import lines, summary
    from appliance.run import RunDir

    run = RunDir(tmp_path)
    for rate, kind in (("high", "alarm"), ("low", "note")):
        run.event("train", "training begins")
        run.event(kind, f"said at the {rate} rate", name="drift")
    facts = summary(run)
    assert (facts["alarms"], facts["notes"]) == ([], ["said at the low rate"])
    assert any("note" in line and "low rate" in line for line in lines(facts))
