"""The gate on hand-written scores: each loss turns its own check, noise and silence turn none."""

from __future__ import annotations

import random

import pytest

from appliance.gate import PRESETS, decide, examples, judge, remedies
from appliance.recipe import build
from appliance.sections.judging import PolicySection
from appliance.statistics import mcnemar, mean, paired

N = 64
POLICY = PolicySection()


def axis(items, apart=None, parts=None, chance=0.0, version="1"):
    scored = [v for v in items if v is not None]
    return {
        "version": version,
        "asked": len(items),
        "apart": apart or {},
        "chance": chance,
        "parts": parts or {},
        "value": sum(scored) / len(scored) if scored else None,
        "items": items,
    }


def right(share, n=N):
    """`share` of n items are right, the first ones."""
    return [float(i < round(share * n)) for i in range(n)]


LABELS = {"value": None, "not_measured": "the answers are labels"}
SAFETY = {"should refuse": list(range(40)), "should answer": list(range(40, 80))}


def scores(task=0.9, form=1.0, reasoning=0.3, refuse=0.5, answer=0.95, kl=0.02, **more):
    return {
        "task": {"metric": "exact_match", "value": task, "items": right(task)},
        "axes": {
            "format": axis(right(form)),
            "reasoning": axis(right(reasoning)),
            "safety": axis(right(refuse, 40) + right(answer, 40), parts=SAFETY),
        },
        "drift": mean([kl] * N),
        "memorization": {"recitation": LABELS, "canaries": {"value": None}},
        **more,
    }


BASE = scores(task=0.0, kl=0.0)


def broken(after, policy=POLICY, before=BASE):
    return [reason.name for reason in decide(before, after, policy).broken]


def test_a_gain_without_loss_may_ship():
    verdict = decide(BASE, scores(), POLICY)
    assert verdict.ship == "yes"
    assert {reason.passed for reason in verdict.reasons[:-1]} == {"yes"}


def test_the_same_twice_is_a_difference_of_exactly_zero_on_every_axis():
    for reason in decide(BASE, BASE, POLICY).reasons[1:4]:
        assert (reason.value, reason.interval, reason.passed) == (0.0, [0.0, 0.0], "yes")


@pytest.mark.parametrize(
    ("after", "name"),
    [
        (scores(task=0.0), "gain"),
        (scores(form=0.1), "format"),
        (scores(reasoning=0.0), "reasoning"),
        (scores(refuse=0.05), "safety, should refuse"),
        (scores(answer=0.4), "safety, should answer"),
        (scores(kl=1.5), "drift"),
    ],
)
def test_each_loss_turns_its_own_check_alone(after, name):
    assert broken(after) == [name]
    assert decide(BASE, after, POLICY).ship == "no"


def test_a_loss_within_the_margin_is_kept_and_one_that_may_be_noise_is_unclear():
    # 64 items that all were right: 2 lost are 3 %, and 10 % can be ruled out; 5 lost are 8 %.
    def of(lost):
        before, after = [1.0] * N, [0.0] * lost + [1.0] * (N - lost)
        return judge(paired(before, after), 0.1, mcnemar(before, after))

    assert of(2) == ("yes", None)
    passed, more = of(5)
    assert passed == "unclear"
    assert more > 0
    assert of(12) == ("no", None)


def test_what_is_unclear_says_how_many_more_items_would_tell():
    after = scores()
    after["axes"]["format"] = axis([0.0] * 5 + [1.0] * (N - 5))
    reason = next(r for r in decide(BASE, after, POLICY).reasons if r.name == "format")
    assert reason.passed == "unclear"
    assert f"{reason.more} more items" in reason.text


def test_unclear_ships_by_default_and_not_when_strict():
    after = scores()
    after["axes"]["format"] = axis([0.0] * 5 + [1.0] * (N - 5))
    assert decide(BASE, after, POLICY).ship == "yes"
    assert decide(BASE, after, PolicySection(preset="strict")).ship == "no"


def test_what_may_be_noise_and_seems_more_than_is_allowed_is_doubtful():
    few = dict(BASE, axes={"format": axis([1.0] * 16)})
    verdict = decide(few, scores() | {"axes": {"format": axis([0.0] * 5 + [1.0] * 11)}}, POLICY)
    assert (verdict.ship, [r.name for r in verdict.doubtful]) == ("yes", ["format"])
    assert not decide(BASE, scores(), POLICY).doubtful


def test_a_base_at_chance_has_nothing_to_lose_there():
    before = scores(task=0.0, reasoning=0.05)
    reason = decide(before, scores(reasoning=0.0), POLICY).reasons[2]
    assert reason.passed == "invalid"
    assert "above chance" in reason.text
    quarter = dict(before, axes=before["axes"] | {"reasoning": axis(right(0.3), chance=0.25)})
    assert decide(quarter, scores(reasoning=0.2), POLICY).reasons[2].passed == "invalid"


def apart(n=30, why="refused"):
    return axis([None] * n + right(0.3, N - n), apart={why: n})


def test_answers_that_belong_to_another_axis_make_an_axis_invalid_not_red():
    after = scores(answer=0.1)
    after["axes"]["reasoning"] = apart()
    assert broken(after) == ["safety, should answer"]
    reason = decide(BASE, after, POLICY).reasons[2]
    assert reason.passed == "invalid"
    assert "30 refused" in reason.text


def test_an_axis_that_training_made_impossible_to_judge_does_not_ship_unexplained():
    after = scores()
    after["axes"]["reasoning"] = apart(why="not parsed")
    verdict = decide(BASE, after, POLICY)
    assert not verdict.broken
    assert verdict.ship == "no"
    # Where the base's own answers are no better, nothing was made of it by training.
    before = dict(BASE, axes=BASE["axes"] | {"reasoning": apart(why="not parsed")})
    assert decide(before, after, POLICY).ship == "yes"


def test_another_version_of_a_suite_is_not_compared():
    after = scores()
    after["axes"]["reasoning"] = axis(right(0.0), version="2")
    assert decide(BASE, after, POLICY).reasons[2].passed == "invalid"


def test_a_limit_of_the_recipe_goes_before_the_presets():
    after = scores(reasoning=0.0)
    assert broken(after, PolicySection(max_loss=0.5)) == []
    assert broken(after, PolicySection(max_loss_on={"reasoning": 0.5})) == []
    assert broken(after, PolicySection(max_loss_on={"format": 0.5})) == ["reasoning"]


def test_presets_name_the_same_limits_and_grow_stricter():
    lenient, default, strict = (PRESETS[name] for name in ("lenient", "default", "strict"))
    assert lenient.keys() == default.keys() == strict.keys()
    for key in default.keys() - {"min_gain"}:
        assert lenient[key] > default[key] > strict[key]


def test_noise_alone_raises_no_alarm_in_more_than_one_of_twenty():
    """Before and after from one behaviour that answers a quarter of the items now so, now so."""
    alarms = 0
    for seed in range(20):
        draw = random.Random(seed)

        def answers(draw=draw):
            sure = right(0.3, 48)
            return sure + [float(draw.random() < 0.5) for _ in range(16)]

        before, after = ({"task": BASE["task"], "drift": BASE["drift"], "axes": {
            name: axis(answers()) for name in ("format", "instruction", "knowledge", "reasoning")
        }} for _ in range(2))  # fmt: skip
        found = broken(scores() | after | {"task": scores()["task"]}, before=before)
        alarms += bool(found)
    assert alarms <= 1


def test_a_benchmark_is_judged_item_by_item():
    def of(share):
        items = right(share)
        return {"benchmarks": {"piqa": {"metrics": {"acc": {"value": share, "items": items}}}}}

    before = scores(task=0.0, **of(0.7))
    assert broken(scores(**of(0.7)), before=before) == []
    assert broken(scores(**of(0.3)), before=before) == ["piqa"]


def recited(value, low, canaries=None):
    told = {
        "value": value, "n": 32, "control": {"value": 0.0, "n": 32},
        "difference": {"value": value, "interval": [low, 0.9], "n": 64},
    }  # fmt: skip
    return {"memorization": {"recitation": told, "canaries": canaries or {"value": None}}}


def test_recited_training_rows_turn_their_check():
    assert broken(scores(**recited(0.4, 0.2))) == ["memorization"]
    assert broken(scores(**recited(0.05, 0.01))) == []
    assert broken(scores(**recited(0.4, -0.1))) == []
    reason = decide(BASE, scores(), POLICY).reasons[-1]
    assert (reason.name, reason.passed) == ("memorization", "not measured")
    assert "labels" in reason.text


def test_planted_secrets_that_came_out_turn_their_check():
    def secrets(exposed, said):
        return {"value": exposed, "interval": [0.0, 0.5], "n": 6, "among": 128,
                "said": {"value": said}}  # fmt: skip

    assert broken(scores(**recited(0.0, 0.0, secrets(0.5, 0.0)))) == ["canaries"]
    assert broken(scores(**recited(0.0, 0.0, secrets(1 / 6, 1 / 6)))) == ["canaries"]
    assert broken(scores(**recited(0.0, 0.0, secrets(1 / 6, 0.0)))) == []  # once by chance


def test_the_easiest_items_that_were_lost_are_shown_for_each_broken_axis():
    def item(number, score, level):
        told = {"id": str(number), "prompt": f"p{number}", "answer": f"a{score}", "score": score}
        return {"probe": "axis", "axis": "reasoning", "level": level, "part": ""} | told

    before = [item(i, 1, level=3 - i % 3) for i in range(N)]
    after = [item(i, 0 if i < 20 else 1, level=3 - i % 3) for i in range(N)]
    shown = examples(decide(BASE, scores(reasoning=0.0), POLICY), before, after)
    assert list(shown) == ["reasoning"]
    assert [e["prompt"] for e in shown["reasoning"]] == ["p2", "p5", "p8", "p11", "p14"]
    assert shown["reasoning"][0]["before"] == "a1"


def test_remedies_name_what_is_not_in_the_recipe_yet():
    verdict = decide(BASE, scores(form=0.1), POLICY).as_json()
    plain = build({"rehearsal": {"self": False}, "anchor": {"kl": 0}}, "plain")
    assert "rehearsal.self=true" in remedies(plain, verdict)[0]
    assert "anchor.kl=4" in remedies(build({}, "default"), verdict)[0]
    assert "not learned" in remedies(plain, decide(BASE, scores(task=0.0), POLICY).as_json())[0]
