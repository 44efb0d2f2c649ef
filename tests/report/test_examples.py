"""Base and tuned side by side: what got worse comes first, and only what was asked both times."""

from __future__ import annotations

from report_runs import whole

from appliance.report.examples import MOST, TEXT, groups, paired, recited
from appliance.report.read import read
from appliance.report.shapes import Item


def items(*scores, said="x", axis="format"):
    return [
        Item(probe="axis", axis=axis, id=str(n), prompt=f"p{n}", answer=f"{said}{n}", score=s)
        for n, s in enumerate(scores)
    ]


def test_what_got_worse_is_first_then_what_is_wrong_then_the_rest():
    base = items(0, 1, 1, 0, None, said="base ")
    tuned = items(1, 1, 0, 0, 0, said="tuned ")
    found = paired(base, tuned, "axis", "format")
    assert [p.prompt for p in found] == ["p2", "p3", "p4", "p1", "p0"]
    assert (found[0].before, found[0].after, found[0].change) == ("base 2", "tuned 2", -1)
    assert found[2].change is None


def test_what_was_asked_once_is_left_out():
    assert [p.prompt for p in paired(items(1), items(1, 0), "axis", "format")] == ["p0"]
    assert paired(items(1), items(1, axis="safety"), "axis", "safety") == []


def test_a_page_shows_some_of_many_and_clips_what_is_long(tmp_path):
    run = whole(tmp_path / "run", "sft", "y" * 5000)
    found = groups(read(run))
    assert [g.name for g in found] == ["task", "off-task", "refusals"]
    assert all(len(g.pairs) == MOST < g.of for g in found)
    assert len(found[0].pairs[0].prompt) == TEXT + 1


def test_only_training_rows_are_memorized_strings(tmp_path):
    shown = recited(read(whole(tmp_path / "run")))
    assert [(e.given, e.true == e.said) for e in shown] == [("it begins plain", True)]
