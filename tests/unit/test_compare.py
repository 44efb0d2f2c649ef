"""Runs held against each other: the same items, and what is more than noise."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner
from made_runs import measured

from appliance.cli import main
from appliance.compare.column import columns
from appliance.compare.differences import differences
from appliance.compare.page import write
from appliance.compare.results import compare
from appliance.compare.table import _within, tables, text
from appliance.disk import read_json, write_json
from appliance.errors import BadInput, RunError
from appliance.recipe import load
from appliance.run import RunDir, hold


@pytest.fixture
def run(tmp_path):
    return lambda name: RunDir(tmp_path / name)


def bits(hits, n):
    return [1.0] * hits + [0.0] * (n - hits)


def less(mine, first):
    """By measure: `mine` less `first`."""
    two = columns((first.root, mine.root))
    return {d.measure: d for d in differences(two[1], two[0])}


def test_the_same_items_are_paired_whatever_their_order(run):
    a = measured(run("a"), bits(40, 80), leak=bits(0, 64), kl=[0.01] * 40)
    b = measured(run("b"), bits(60, 80), leak=bits(60, 64), kl=[1.0] * 40)
    lines = b.answers_after.read_text().splitlines()
    turned = lines[:80][::-1] + lines[80:]  # and the scores with them
    b.answers_after.write_text("\n".join(turned) + "\n")
    scores = read_json(b.scores_after)
    scores["task"]["items"] = scores["task"]["items"][::-1]
    write_json(b.scores_after, scores)
    found = less(b, a)
    task = found["task, exact match"]
    assert (task.found, task.paired, task.n, task.value) == ("better", True, 80, 0.25)
    assert task.p == pytest.approx(2 / 2**20)  # 20 won, none lost
    assert found["habit leak off task"].found == found["drift from the base"].found == "worse"
    assert found["format"].found == "worse"
    assert "gain on the task" not in found  # of one base it says the same


def test_what_could_not_be_scored_is_not_right_and_every_run_has_the_same_items(run):
    """Two thirds of the answers of b say nothing, and of the others all are right."""
    a = measured(run("a"), bits(1, 3), axes={"reasoning": bits(30, 60)})
    b = measured(run("b"), bits(1, 3), axes={"reasoning": [1.0] * 20 + [None] * 40})
    two = columns((a.root, b.root))
    mine = two[1].measures["reasoning"]
    assert (mine.figure()["n"], mine.unscored) == (60, 40)
    assert mine.figure()["value"] == pytest.approx(1 / 3)
    found = less(b, a)["reasoning"]
    assert (found.found, found.n) == ("worse", 60)
    assert found.value == pytest.approx(-1 / 6)
    assert any("So many: b reasoning 40" in note for note in compare(two)["notes"])


def test_a_difference_that_chance_makes_is_called_noise_and_so_is_one_on_few_items(run):
    a = measured(run("a"), [1, 0] * 20, axes={"knowledge": [0.0] * 5}, kl=[0.1] * 8)
    b = measured(run("b"), [0, 1] * 19 + [1, 1], axes={"knowledge": [1.0] * 5}, kl=[0.2] * 8)
    found = less(b, a)
    assert found["task, exact match"].found == "noise"
    assert found["knowledge"].p == pytest.approx(1 / 16)
    assert found["knowledge"].found == found["drift from the base"].found == "noise"
    said = compare(columns((a.root, b.root)))["sentences"]
    assert "No difference is more than noise." in said["b"]


def test_pairs_that_are_all_alike_are_no_proof_that_any_other_would_be(run):
    a = measured(run("a"), bits(0, 40), axes={"safety": bits(20, 20), "mine": bits(5, 20)})
    b = measured(run("b"), bits(40, 40), axes={"safety": bits(0, 20), "mine": bits(5, 20)})
    found = less(b, a)
    assert found["task, exact match"].interval == pytest.approx([0.912, 1.0], abs=1e-3)
    assert found["safety"].interval == pytest.approx([-1.0, -0.839], abs=1e-3)  # Wilson, 20 of 20
    assert found["mine"].interval == pytest.approx([-0.161, 0.161], abs=1e-3)  # none of 20
    assert (found["safety"].found, found["mine"].found) == ("worse", "noise")


def test_other_rows_of_the_same_file_are_two_samples_and_of_another_file_nothing(run):
    a = measured(run("a"), bits(50, 100))
    b = measured(run("b"), bits(90, 100), rows="drawn anew")
    c = measured(run("c"), bits(90, 100), rows="drawn anew", data="d2")
    found = less(b, a)["task, exact match"]
    assert (found.found, found.paired, found.n) == ("better", False, 200)
    assert "none in common" in found.text
    other = less(c, a)["task, exact match"]
    assert (other.found, other.text) == ("not compared", "other held-out rows of other data")


def test_of_more_rows_those_are_compared_that_both_have(run):
    a, b = measured(run("a"), bits(20, 40)), measured(run("b"), bits(40, 60))
    found = less(b, a)["task, exact match"]
    assert (found.n, found.text) == (40, "the 40 items that both have (of 60)")


def test_of_two_models_what_is_measured_against_the_base_is_not_compared(run):
    a = measured(run("a"), bits(20, 40), kl=[0.1] * 20, axes={"safety": bits(9, 40)})
    b = measured(run("b"), bits(40, 40), kl=[0.2] * 20, axes={"safety": bits(39, 40)}, model="m2")
    found = less(b, a)
    assert found["drift from the base"].found == "not compared"
    assert "the base m2" in found["drift from the base"].text
    assert found["gain on the task"].found == found["safety"].found == "better"
    assert any(
        note.startswith("The bases differ") for note in compare(columns((a.root, b.root)))["notes"]
    )


def test_another_version_of_a_suite_and_one_that_was_not_asked_are_not_compared(run):
    a = measured(run("a"), [1, 0], axes={"safety": [1, 0], "mine": [1]})
    b = measured(run("b"), [1, 0], axes={"safety": [1, 1]}, version="2")
    found = less(b, a)
    assert found["safety"].text == "version 2 of the suite here, version 1 of the suite in a"
    assert found["mine"].text == "b has none"


def test_base_answers_of_another_text_are_other_items(run):
    """KL on other text is another number, although the ids are alike."""
    a = measured(run("a"), [1, 0], kl=[0.1] * 20)
    b = measured(run("b"), [1, 0], kl=[0.5] * 20)
    b.base_answers.write_text(b.base_answers.read_text().replace('"so"', '"thus"'))
    assert not less(b, a)["drift from the base"].paired


def test_runs_without_an_evaluation_say_where_they_stand(run):
    a = measured(run("a"), bits(20, 40))
    going, dead, older = run("going"), run("dead"), run("older")
    for one in (going, dead):
        one.create(load("sft", ["train.epochs=1"]))
        one.event("begins", "train")
    older.create(load("sft"))
    older.recipe_file.write_text("model: {name: embedded}\nforgotten: {key: 1}\n")
    older.event("error", "The loss is not finite.", exit=1)
    with hold(going.root, "--run"):
        found = compare(columns((a.root, going.root, dead.root, older.root)))
    rows = {row[0]: row[2:] for row in tables(found)[0].rows}
    assert rows["stands"][1:4] == (
        "not evaluated, running: train",
        "not evaluated, killed in train",
        "not evaluated, failed",
    )
    assert rows["task, exact match"][1:4] == ("-", "-", "-")
    assert found["less_first"] == {}
    assert found["sentences"]["going"] == "going against a: not compared (going: not evaluated)."
    assert "older: It failed: The loss is not finite." in found["notes"]
    assert found["recipes"]["train.epochs"][:2] == [3, 1]
    assert found["recipes"]["forgotten.key"] == [None, None, None, 1]


def test_a_damaged_file_is_named_and_the_rest_is_there(run):
    a, b = measured(run("a"), bits(20, 40)), measured(run("b"), bits(40, 40), kl=[0.1])
    b.base_answers.write_text("{")
    b.verdict.write_text("{")
    found = compare(columns((a.root, b.root)))
    assert found["less_first"]["b"][0]["found"] == "better"
    assert ["b: verdict.json", f"b: {b.base_answers}"] == [
        note.split(" is ")[0] for note in found["notes"] if "damaged" in note
    ]
    b.scores_after.write_text("{")
    b.recipe_file.write_text("method: [")
    found = compare(columns((a.root, b.root)))
    assert (found["less_first"], found["recipes"]) == ({}, {})
    assert found["sentences"]["b"].endswith("(b: its scores cannot be read).")


def test_recipes_verdicts_and_times_stand_beside_each_other(run):
    a = measured(run("a"), [1, 0])
    b = measured(run("b"), [1, 0], sets=["rehearsal.self=false"], verdict="no")
    b.event("stage", "train", seconds=30.0)
    found = compare(columns((a.root, b.root)))
    assert found["recipes"] == {"rehearsal.self": [None, False]}
    rows = {row[0]: row[2:4] for row in tables(found)[0].rows}
    assert rows["may it be shipped"] == ("yes", "no")
    assert rows["rehearse + train"] == ("1m10s", "40s")
    assert "took 40s, 30s less than a's" in found["sentences"]["b"]


def test_money_is_by_the_price_that_the_run_knows(run):
    a, b, c = (measured(run(name), [1, 0]) for name in "abc")
    typical = {"per_hour": 0.34, "currency": "USD", "source": "RunPod, 2026-09-25"}
    for one, price in ((a, typical), (b, {"per_hour": 3.6, "currency": "EUR"})):
        write_json(one.manifest, read_json(one.manifest) | {"price": price})
    found = compare(columns((a.root, b.root, c.root)))
    rows = {row[0]: row[2:5] for row in tables(found)[0].rows}
    assert rows["price of the whole run"] == ("0.01 USD", "0.10 EUR", "-")  # of 100 s
    assert found["runs"]["a"]["money"]["value"] == pytest.approx(100 / 3600 * 0.34)
    assert any("RunPod" in note and "manifest" in note for note in found["notes"])


def test_one_run_twice_or_alone_is_refused_in_a_sentence(run, monkeypatch):
    a = measured(run("a"), [1, 0])
    for folders, said in [((a.root,), "nothing to compare"), ((), "nothing to compare"),
                          ((a.root, a.root), "named twice"),
                          ((a.root, a.root / ".." / "a"), "are the same run")]:  # fmt: skip
        with pytest.raises(BadInput, match=said):
            columns(folders)
    with pytest.raises(RunError, match="not a run directory"):
        columns((a.root, a.root.parent))


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    two = [measured(RunDir(tmp_path / day / "demo"), [1]).root for day in ("monday", "tuesday")]
    assert [c.name for c in columns(tuple(two))] == [str(folder) for folder in two]


def test_a_table_wider_than_the_terminal_goes_on_below(run):
    many = [measured(run(f"run{i}"), bits(20, 40)) for i in range(5)]
    found = compare(columns(tuple(one.root for one in many)))
    lines = text(found, 80).splitlines()
    assert max(len(line) for line in lines if line.startswith("|")) <= 80
    table = tables(found)[0]
    assert [name for block in _within(table, 80) for name in block.head[1:]] == list(table.head[1:])


def test_the_verb_prints_json_alone_on_stdout_and_writes_nothing(run):
    two = [measured(run("a"), bits(20, 40)), measured(run("b"), bits(30, 40))]
    before = {p: p.read_bytes() for one in two for p in one.root.rglob("*") if p.is_file()}
    done = CliRunner().invoke(main, ["compare", *(str(one.root) for one in two), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["less_first"]["b"][0]["n"] == 40
    assert {p: p.read_bytes() for one in two for p in one.root.rglob("*") if p.is_file()} == before
    bad = CliRunner().invoke(main, ["compare", str(two[0].root)])
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert bad.stderr.startswith("error: One run is nothing to compare.")


def test_the_page_holds_every_run_escaped_and_needs_no_network(run, tmp_path):
    two = [measured(run(name), bits(20 * n, 40), leak=bits(0, 64), kl=[0.1 * n] * 20)
           for n, name in enumerate(("a", "<b>"), 1)]  # fmt: skip
    page = tmp_path / "pages" / "c.html"
    done = CliRunner().invoke(
        main, ["compare", *(str(one.root) for one in two), "--page", str(page)]
    )
    assert done.exit_code == 0
    assert str(page) in done.stderr
    html = page.read_text()
    assert "<h2>&lt;b&gt; against a</h2>" in html
    assert "<b>" not in html
    assert "task, exact match: +50% [+35 to +65], the same 40 items" in html
    assert html.count("<svg") == 2
    assert not re.search(r"(src|href)=.(?!data:|#)", html)


def test_a_page_of_nothing_to_compare_says_so(run, tmp_path):
    a, b = measured(run("a"), bits(20, 40)), run("b")
    b.create(load("sft"))
    write(compare(columns((a.root, b.root))), tmp_path / "c.html")
    html = (tmp_path / "c.html").read_text()
    assert "b against a: not compared (b: not evaluated)." in html
    assert "<svg" not in html
