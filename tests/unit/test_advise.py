"""Advice before training: which rows are shown, how they are asked, and what may be said of it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.data.rows import Message, Row
from appliance.evaluate.advise import beside
from appliance.evaluate.nearest import Nearest
from appliance.evaluate.recommend import recommend
from appliance.evaluate.ways import fitting, with_context, with_labels, with_shots
from appliance.statistics import share

PLAN = {"rows": {"train": 616}, "steps": 117}


def row(asked: str, answer: str, *before: tuple[str, str]) -> Row:
    turns = [*before, ("user", asked), ("assistant", answer)]
    return Row(tuple(Message(role=r, content=c) for r, c in turns), "rows.jsonl", 1)


CARDS = [
    row("my card was stolen in Dresden", "stolen"),
    row("the card is lost", "lost"),
    row("where is my new card", "late"),
    row("a payment was charged twice", "charged"),
]


def said(prompt) -> list[str]:
    return [f"{m['role']}: {m['content']}" for m in prompt]


# --- which rows are near


def test_the_nearest_row_shares_the_rare_words() -> None:
    near = Nearest(CARDS)
    assert [r.answer for r in near.find(row("charged twice for one payment", "?"), 1)] == [
        "charged"
    ]
    assert near.find(row("someone has stolen my card", "?"), 2)[0].answer == "stolen"


def test_the_row_itself_is_never_found_whatever_its_case_blanks_or_system_prompt() -> None:
    near = Nearest(CARDS)
    other = row("The  CARD is lost", "x", ("system", "be kind"))
    for asked in (CARDS[1], other):
        found = near.find(asked, 9)
        assert len(found) == 3
        assert CARDS[1] not in found


def test_a_prompt_that_stands_twice_is_shown_once() -> None:
    near = Nearest([*CARDS, row("The card is lost", "stolen")])
    assert [r.answer for r in near.find(row("lost a card", "?"), 9)].count("lost") == 1
    assert len(near.find(row("lost a card", "?"), 9)) == 4


def test_rows_without_any_word_are_looked_through_and_asked() -> None:
    near = Nearest([row("?!", "a"), row("...", "b"), *CARDS])
    assert near.find(row("!!", "x"), 1)
    assert near.find(row("card lost", "x"), 1)[0].answer == "lost"
    assert len(Nearest([row("?!", "a")]).find(row("card", "x"), 3)) == 1


# --- how a row is asked


def test_shots_come_before_the_question_the_nearest_last_and_under_its_own_system_prompt() -> None:
    shots = [row("b", "B", ("system", "theirs")), row("a", "A")]
    made = said(with_shots(row("q", "Q", ("system", "own")), shots))
    assert made == ["system: own", "user: a", "assistant: A", "user: b", "assistant: B", "user: q"]


def test_found_rows_stand_in_the_last_user_turn_and_the_answer_nowhere() -> None:
    asked = row("q", "SECRET", ("system", "own"), ("user", "hi"), ("assistant", "ho"))
    made = with_context(asked, [row("b", "B"), row("a", "A")])
    assert said(made)[:3] == ["system: own", "user: hi", "assistant: ho"]
    text = made[-1]["content"]
    assert text.index("Request: a\nAnswer: A") < text.index("Request: b\nAnswer: B")
    assert text.endswith("Request: q")
    assert "SECRET" not in str(made)


def test_labels_are_named_in_the_system_turn_after_what_stands_there() -> None:
    made = with_labels(row("q", "Q", ("system", "own")), ["late", "lost"])
    assert made[0]["role"] == "system"
    assert made[0]["content"].startswith("own\n\n")
    assert "- late\n- lost" in made[0]["content"]
    assert [m["role"] for m in with_labels(row("q", "Q"), ["x"])] == ["system", "user"]


def test_labels_stand_before_the_question_where_a_template_has_no_system_turn() -> None:
    made = with_labels(row("q", "Q"), ["late", "lost"], in_system=False)
    assert [m["role"] for m in made] == ["user"]
    assert made[0]["content"].endswith("- lost\n\nq")


def words(prompt) -> int:
    return sum(len(m["content"].split()) for m in prompt)


@pytest.mark.parametrize("put", [with_shots, with_context])
def test_long_rows_get_fewer_shots_the_nearest_ones_and_a_full_room_none(put) -> None:
    shots = [row(f"{name} " * 40, name) for name in ("near", "middle", "far")]
    asked = row("q", "Q")
    room = words(put(asked, shots[:2]))
    made, used = fitting(asked, shots, put, words, room)
    assert used == 2
    assert words(made) <= room
    assert "near" in str(made)
    assert "far" not in str(made)
    assert fitting(asked, shots, put, words, 1000)[1] == 3
    assert fitting(asked, shots, put, words, 10) == ([Message(role="user", content="q")], 0)


# --- what may be said


def ways(n: int = 100, tuned: list[float] | None = None, **hits: int | list[float]):
    """Scores of ways by their number of hits among `n`, or item by item."""
    made = {}
    for name, given in hits.items():
        items = given if isinstance(given, list) else [1.0] * given + [0.0] * (n - given)
        made[name] = {**share([v == 1 for v in items]), "items": items}
    found = {"metric": "exact_match", "ways": made}
    if tuned is not None:
        found["tuned"] = {**share([v == 1 for v in tuned]), "items": tuned}
    return found


def test_the_first_way_that_surely_reaches_the_target_is_recommended_not_the_best() -> None:
    made = recommend(ways(zero_shot=2, few_shot=92, retrieval=99), 0.8, PLAN)
    assert (made["choice"], made["way"], made["sure"]) == ("prompt", "few_shot", True)
    assert "not needed" in made["text"]
    made = recommend(ways(zero_shot=2, few_shot=50, retrieval=99), 0.8, PLAN)
    assert (made["choice"], made["way"], made["sure"]) == ("retrieval", "retrieval", True)


def test_a_value_at_the_target_with_an_interval_below_it_is_only_worth_a_try() -> None:
    made = recommend(ways(zero_shot=2, few_shot=82), 0.8, PLAN)
    assert (made["choice"], made["sure"]) == ("prompt", False)
    assert "Try" in made["text"]
    assert "not needed" not in made["text"]


def test_a_target_that_an_interval_does_not_exclude_is_not_called_out_of_reach() -> None:
    made = recommend(ways(n=40, zero_shot=0, few_shot=30), 0.8, PLAN)
    assert (made["choice"], made["sure"]) == ("fine-tuning", False)
    assert "does not exclude" in made["text"]
    assert "94% of the target of 80%" in made["text"]


def test_what_fine_tuning_would_have_to_add_and_its_cost_are_said() -> None:
    made = recommend(ways(zero_shot=0, few_shot=40), 0.9, PLAN)
    assert (made["choice"], made["sure"]) == ("fine-tuning", True)
    assert made["to_add"]["value"] == pytest.approx(0.5)
    low, high = made["to_add"]["interval"]
    assert low < 0.5 < high
    reasons = " ".join(made["reasons"])
    assert "50 points" in reasons
    assert "117 steps over 616 rows" in reasons
    assert "about" not in reasons
    timed = recommend(ways(few_shot=40), 0.9, {**PLAN, "seconds": 386})
    assert "about 6m26s" in " ".join(timed["reasons"])


def test_copying_the_nearest_answer_is_always_shown_and_can_be_the_way() -> None:
    made = recommend(ways(zero_shot=0, few_shot=40, nearest=30), 0.9, PLAN)
    assert any("copying the nearest row's answer: 30%" in reason for reason in made["reasons"])
    made = recommend(ways(zero_shot=0, few_shot=40, nearest=98), 0.9, PLAN)
    assert (made["choice"], made["way"]) == ("retrieval", "nearest")
    assert any("takes no model" in r and "few-shot: 40%" in r for r in made["reasons"])


def test_an_advice_can_be_made_again_by_the_cost_of_the_first() -> None:
    found = ways(zero_shot=0, few_shot=40)
    first = recommend(found, None, {**PLAN, "seconds": 386})
    assert recommend(found, None, first["cost"]) == first


def test_without_a_target_or_a_tuned_model_nothing_is_chosen() -> None:
    made = recommend(ways(zero_shot=0, few_shot=40, retrieval=60), None, PLAN)
    assert (made["choice"], made["sure"], made["to_add"]) == (None, False, None)
    assert "40 points [31 to 50] at most" in made["text"]


def test_training_is_worth_it_only_where_it_adds_row_by_row() -> None:
    tuned = [1.0] * 90 + [0.0] * 10
    made = recommend(ways(few_shot=45, zero_shot=0, tuned=tuned), None, PLAN)
    assert (made["choice"], made["sure"]) == ("fine-tuning", True)
    assert "+45 points" in made["text"]
    made = recommend(ways(few_shot=89, zero_shot=0, tuned=tuned), None, PLAN)
    assert (made["choice"], made["way"], made["sure"]) == ("prompt", "few_shot", False)
    assert "not shown to add" in made["text"]
    assert "99% of it" in made["text"]
    made = recommend(ways(few_shot=99, zero_shot=0, tuned=tuned), None, PLAN)
    assert (made["choice"], made["sure"]) == ("prompt", True)
    assert "was not needed" in made["text"]


def test_a_tuned_model_below_the_target_is_not_recommended_for_sure() -> None:
    half = [1.0] * 50 + [0.0] * 50
    made = recommend(ways(few_shot=40, tuned=half), 0.9, PLAN)
    assert (made["choice"], made["sure"]) == ("fine-tuning", False)
    assert "not shown to reach" in made["text"]
    made = recommend(ways(few_shot=40, tuned=[1.0] * 100), 0.9, PLAN)
    assert (made["sure"], "it reaches it" in made["text"]) == (True, True)


def test_a_way_that_was_not_measured_is_left_out_and_none_at_all_is_said() -> None:
    found = ways(zero_shot=10)
    found["ways"]["few_shot"] = {"value": None, "interval": None, "n": 0, "why": "too long"}
    assert recommend(found, 0.9, PLAN)["choice"] == "fine-tuning"
    nothing = recommend({"metric": "exact_match", "ways": {}}, 0.9, PLAN)
    assert nothing["choice"] is None


def test_the_tuned_model_is_compared_on_the_rows_that_were_asked() -> None:
    found = {**ways(n=2, few_shot=[1.0, 0.0]), "places": [1, 3]}
    made = beside(found, {"items": [0.0, 1.0, 0.0, 1.0]})["tuned"]
    assert (made["items"], made["value"], made["n"]) == ([1.0, 1.0], 1.0, 2)


# --- the verb's manners


@pytest.fixture
def run(tmp_path, beside_a_model):
    def call(*arguments):
        done = CliRunner().invoke(main, ["advise", *arguments, "--model", "model"])
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted({"model", *given})
        return done

    given: set[str] = set()
    call.given = given
    return call


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "rows.jsonl is empty"),
        ([{"a": 1}], "rows.jsonl"),
        ([{"prompt": "p", "chosen": "a", "rejected": "b"}] * 9, "preference pairs"),
    ],
)
def test_bad_rows_are_one_sentence_and_leave_nothing(run, tmp_path, lines, what) -> None:
    run.given.add("rows.jsonl")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run("rows.jsonl", "--run", "r")
    assert done.exit_code == 2, done.output
    assert what in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("target", ["0", "1.5", "much"])
def test_a_target_is_a_score(run, target) -> None:
    assert run("--target", target).exit_code == 2


def test_a_missing_file_is_named(run) -> None:
    done = run("nope.jsonl")
    assert done.exit_code == 2
    assert "nope.jsonl" in done.output


def test_a_run_has_its_own_rows(run, tmp_path) -> None:
    run.given.add("r")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "recipe.yaml").write_text("{}")
    done = run("rows.jsonl", "--run", "r")
    assert done.exit_code == 2
    assert "r is a run" in done.output
