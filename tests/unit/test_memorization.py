"""Memorization, canaries and real rows: the parts that need no model, by hand-made numbers."""

from __future__ import annotations

import json

import pytest

from appliance.data.canaries import SOURCE, Canary, candidates, exposure, make, plant, rank
from appliance.data.rows import Row, read_rows
from appliance.disk import read_json
from appliance.errors import DataError, RecipeError
from appliance.evaluate.exposure import _where_they_differ
from appliance.evaluate.memorization import is_recited, longest_run, twins
from appliance.evaluate.real_world import check, compare, rows
from appliance.model.chat import IGNORE, Encoded
from appliance.pipeline import plant_canaries
from appliance.recipe import load
from appliance.run import RunDir
from appliance.statistics import difference, share_difference

TRUE = "the miller counted nine silver kettles near the old market hall".split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("said", "run"),
    [
        ("the miller counted nine silver kettles near the old market hall", 11),
        ("the miller counted ten silver kettles near the old tower", 5),
        ("well, the miller counted nine", 4),
        ("kettles silver nine", 1),
        ("nothing of it", 0),
        ("", 0),
    ],
)
def test_the_longest_run_is_word_for_word_and_in_one_piece(said, run):
    assert longest_run(said.split(), TRUE) == run


def test_words_that_stand_in_a_long_answer_many_times_still_count():
    # difflib's own rule of thumb would leave both out.
    assert longest_run(["a", "the", "cat", "the"], ["cat", "the"] * 150) == 3


@pytest.mark.parametrize(
    ("run", "words", "recited"), [(8, 8, True), (8, 16, True), (7, 8, False), (8, 17, False)]
)
def test_recited_is_half_of_the_rest_and_no_common_phrase(run, words, recited):
    assert is_recited(run, words) is recited


def test_each_prompt_gets_the_twin_most_like_it_and_each_twin_is_used_once():
    prompts = ["Where is my card?", "Reset my password, please."]
    others = ["Why is the sky blue?", "please reset my PASSWORD", "Where is my new card?"]
    assert [place for place, _ in twins(prompts, others)] == [2, 1]
    # Both are most like the first; one of them has to take the other.
    found = twins(["card lost", "card lost today"], ["card lost today", "card"])
    assert sorted(place for place, _ in found) == [0, 1]


@pytest.mark.parametrize(
    ("losses", "place", "bits"),
    [
        ([1.0, 2.0, 3.0, 4.0], 1, 2.0),
        ([2.5, 2.0, 3.0, 1.0], 3, 2 - 1.584963),
        ([4.0, 2.0, 3.0, 1.0], 4, 0.0),
        ([2.0, 2.0, 2.0, 2.0], 4, 0.0),  # a model that cannot tell has memorized nothing
    ],
)
def test_exposure_by_hand(losses, place, bits):
    assert rank(losses) == place
    assert exposure(place, len(losses)) == pytest.approx(bits, abs=1e-6)


def test_canaries_are_the_same_for_a_seed_and_no_two_share_a_code():
    made = make(7)
    assert made == make(7)
    assert made != make(8)
    assert [canary.repeats for canary in made] == [1, 1, 4, 4, 16, 16]
    assert len({canary.code for canary in made}) == len({canary.prompt for canary in made}) == 6
    assert all(len(canary.code) == 6 and canary.code.isdigit() for canary in made)
    assert [Canary.from_json(json.loads(json.dumps(c.to_json()))) for c in made] == made


def test_the_candidates_hold_the_own_code_first_and_no_other_canarys():
    made = make(7)
    codes = candidates(made[0], made, 128, 7)
    assert codes == candidates(made[0], made, 128, 7)
    assert codes[0] == made[0].code
    assert len(set(codes)) == 128
    assert not set(codes) & {canary.code for canary in made[1:]}


def row(text, line=1):
    turns = ({"role": "user", "content": text}, {"role": "assistant", "content": "Yes."})
    return Row(turns, "mine.jsonl", line)


def test_planted_rows_stand_as_often_as_they_should_and_the_others_stay_as_they_were():
    mine = [row(f"Question {n}?", n) for n in range(50)]
    made = make(7)
    out = plant(mine, made, "Be brief.", 7)
    assert [r for r in out if r.source != SOURCE] == mine
    planted = [r for r in out if r.source == SOURCE]
    assert len(planted) == 42
    for canary in made:
        same = [r for r in planted if r.messages == canary.row("Be brief.").messages]
        assert len(same) == canary.repeats
        assert same[0].answer.endswith(f" {canary.code}.")
        assert [m["role"] for m in same[0].messages] == ["system", "user", "assistant"]
    assert plant(mine, made, "Be brief.", 7) == out
    # Not all in one place.
    assert len({n // 23 for n, r in enumerate(out) if r.source == SOURCE}) == 4


def test_the_data_stage_plants_in_train_alone_and_another_run_can_take_them(tmp_path):
    from appliance.data.rows import write_jsonl

    run, other = RunDir(tmp_path / "one"), RunDir(tmp_path / "two")
    for path in (run.train_rows, run.valid_rows, run.test_rows):
        write_jsonl(path, [row(f"Question {n}?") for n in range(9)])
    for path in (run.audit, run.data_facts):
        path.write_text("{}")
    said: list[str] = []
    assert plant_canaries(run, load("sft", ["evaluate.canaries=true"]), said.append) == 42
    assert "42 rows of 6 made-up secrets" in said[0]
    assert len(read_rows(run.train_rows)) == 51
    assert len(read_rows(run.test_rows)) == len(read_rows(run.valid_rows)) == 9
    assert read_json(run.canaries, list)[0] == make(3407)[0].to_json()
    other.take_data(run)
    assert read_json(other.canaries, list) == read_json(run.canaries, list)


def test_canaries_are_for_sft_alone():
    assert load("sft", ["evaluate.canaries=true"]).evaluate.canaries
    with pytest.raises(RecipeError, match=r"evaluate\.canaries .* method is dpo") as caught:
        load("dpo", ["evaluate.canaries=true"])
    assert "evaluate.canaries=false" in caught.value.do


def test_the_loss_is_on_the_code_alone():
    rows = [
        Encoded([1, 2, 3, code, 9, 8], [IGNORE, IGNORE, 3, code, 9, 8], False) for code in (5, 6)
    ]
    kept = _where_they_differ(rows)
    assert [r.input_ids for r in kept] == [[1, 2, 3, 5], [1, 2, 3, 6]]
    assert [r.labels for r in kept] == [[IGNORE] * 3 + [5], [IGNORE] * 3 + [6]]
    # Codes of more and of fewer tokens.
    rows = [Encoded([1, 2, *code, 9], [IGNORE, 2, *code, 9], False) for code in ([5, 6], [7])]
    assert [r.labels for r in _where_they_differ(rows)] == [
        [IGNORE, IGNORE, 5, 6],
        [IGNORE, IGNORE, 7],
    ]


def test_newcombes_own_examples():
    # Newcombe 1998 (Interval estimation for the difference), table II, method 10.
    found = share_difference([True] * 56 + [False] * 14, [True] * 48 + [False] * 32)
    assert found["value"] == pytest.approx(0.2)
    assert found["interval"] == pytest.approx([0.0524, 0.3339], abs=1e-4)
    assert found["n_each"] == [70, 80]
    none = share_difference([False] * 10, [False] * 10)
    assert none["interval"] == pytest.approx([-0.2775, 0.2775], abs=1e-4)


def test_the_difference_of_two_samples_has_the_width_of_both():
    one, two = [0.0, 1.0] * 50, [0.0, 1.0] * 12 + [1.0]
    found = difference(one, two)
    assert found["value"] == pytest.approx(0.5 - 13 / 25)
    assert (found["n"], found["n_each"]) == (125, [100, 25])
    low, high = found["interval"]
    # 1.96 standard errors on each side: sqrt(0.25 / 100 + 0.2496 / 25).
    assert high - low == pytest.approx(2 * 1.96 * 0.1117, rel=0.1)
    assert low < found["value"] < high


@pytest.mark.parametrize("compared", [difference, share_difference])
def test_a_difference_to_nothing_is_not_measured(compared):
    assert compared([True], []) == {"n": 1, "n_each": [1, 0], "value": None, "interval": None}


def scored(items, metric="exact_match"):
    return {"metric": metric, "items": items}


ZERO = scored([0.0] * 60)


def test_a_gain_that_the_real_rows_do_not_show_is_said():
    found = compare(ZERO, scored([1.0] * 48 + [0.0] * 12), ZERO, scored([1.0] * 12 + [0.0] * 48))
    assert found["held_out"]["value"] == 0.8
    assert found["real"]["value"] == 0.2
    assert found["disagree"] is True
    assert "share the training rows' quirks" in found["text"]
    assert "exact match changed by +80 points on the held-out rows and by +20 on" in found["text"]


def test_real_rows_that_gain_more_are_said_too():
    found = compare(ZERO, scored([1.0] * 12 + [0.0] * 48), ZERO, scored([1.0] * 48 + [0.0] * 12))
    assert found["disagree"] is True
    assert "gain more" in found["text"]


def test_a_difference_within_chance_is_none():
    few = scored([0.0] * 10)
    found = compare(ZERO, scored([1.0] * 36 + [0.0] * 24), few, scored([1.0] * 5 + [0.0] * 5))
    assert found["disagree"] is False
    assert "no more apart than chance" in found["text"]


def test_it_is_the_gain_that_is_compared_and_not_the_score():
    # The base is good on the real rows already, so there is little left to gain.
    good = scored([1.0] * 54 + [0.0] * 6)
    found = compare(ZERO, scored([1.0] * 54 + [0.0] * 6), good, good)
    assert found["difference"]["value"] == pytest.approx(0.9)
    assert found["disagree"] is True


def test_what_cannot_be_compared_is_said():
    few = scored([0.0] * 4 + [None] * 30)
    found = compare(ZERO, scored([1.0] * 60), few, few)
    assert found["disagree"] is None
    assert "Only 4 rows" in found["text"]
    found = compare(ZERO, ZERO, scored([0.1] * 9, "rouge_l"), scored([0.2] * 9, "rouge_l"))
    assert found["disagree"] is None
    assert "exact match and the real ones by ROUGE-L" in found["text"]


def test_real_rows_are_looked_for_before_anything_long_begins(tmp_path):
    check(load("sft"))
    path = tmp_path / "real.jsonl"
    path.write_text('{"prompt": "Where is it?", "completion": "Here."}\n')
    check(load("sft", [f"evaluate.real_world={path}"]))
    with pytest.raises(DataError, match=r"evaluate\.real_world: There is no file") as caught:
        check(load("sft", [f"evaluate.real_world={tmp_path / 'rael.jsonl'}"]))
    assert "real.jsonl" in caught.value.do


def test_real_rows_are_read_as_the_tasks_rows_are(tmp_path):
    path = tmp_path / "real.csv"
    path.write_text("wish,queue\nMy card is lost,cards\nNo network,network\n")
    sets = [f"evaluate.real_world={path}", "data.system=Sort it."]
    found = rows(load("sft", [*sets, "data.columns.prompt=wish", "data.columns.completion=queue"]))
    assert [r.answer for r in found] == ["cards", "network"]
    assert found[0].prompt[0] == {"role": "system", "content": "Sort it."}
    with pytest.raises(DataError, match=r"evaluate\.real_world: .*real\.csv"):
        rows(load("dpo", sets))
    many = "".join(f'{{"prompt": "Number {n}?", "completion": "{n}"}}\n' for n in range(30))
    (tmp_path / "many.jsonl").write_text(many)
    sampled = load("sft", [f"evaluate.real_world={tmp_path / 'many.jsonl'}", "data.test_limit=9"])
    assert len(rows(sampled)) == 9


def test_the_plan_counts_the_planted_rows():
    from appliance.plan import reckon

    plain, planted = (reckon(load("sft", [f"evaluate.canaries={on}"])) for on in ("false", "true"))
    assert planted.rows.train - plain.rows.train == 42
