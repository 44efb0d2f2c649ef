"""Benchmarks: the files' items, the names, and the form of the scores. No model is asked."""

import json

import pytest

from appliance.errors import DataError
from appliance.evaluate import harness
from appliance.evaluate.benchmarks import _scores, benchmarks, read

GOOD = {"question": "Where do bees live?", "choices": ["in a hive", "in a nest"], "answer": 0}


@pytest.fixture(autouse=True)
def nothing_is_asked(monkeypatch):
    def run(*_):
        raise AssertionError("the harness was started")

    monkeypatch.setattr(harness, "run", run)


def write(path, *items):
    path.write_text("\n".join(i if isinstance(i, str) else json.dumps(i) for i in items) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": None}, "`question` is not a text"),
        ({"question": "  "}, "`question` is not a text"),
        ({"choices": "in a hive"}, "`choices` is not a list of at least two texts"),
        ({"choices": ["in a hive"]}, "`choices` is not a list of at least two texts"),
        ({"choices": ["in a hive", ""]}, "one of `choices` is not a text"),
        ({"choices": ["in a hive", 2]}, "one of `choices` is not a text"),
        ({"answer": "0"}, "`answer` is not a whole number"),
        ({"answer": True}, "`answer` is not a whole number"),
        ({"answer": 2}, "`answer` is 2, the place of none of the 2 choices"),
        ({"answer": -1}, "`answer` is -1, the place of none of the 2 choices"),
    ],
)
def test_a_wrong_item_is_named_by_its_line(tmp_path, change, said):
    name = write(tmp_path / "bees.jsonl", GOOD, "", GOOD | change)
    with pytest.raises(DataError) as error:
        benchmarks(None, [name])
    assert f"{name}, line 3: {said}" in error.value.what
    assert "question" in error.value.do


@pytest.mark.parametrize("line", ["{", "[]", "7"])
def test_a_line_that_is_no_object_is_named(tmp_path, line):
    name = write(tmp_path / "bees.jsonl", GOOD, line)
    with pytest.raises(DataError, match="line 2: it is no JSON object"):
        benchmarks(None, [name])


def test_a_file_that_is_not_there_or_empty_is_said(tmp_path):
    with pytest.raises(DataError, match=r"no\.jsonl cannot be read"):
        benchmarks(None, [str(tmp_path / "no.jsonl")])
    with pytest.raises(DataError, match="is empty"):
        benchmarks(None, [write(tmp_path / "empty.jsonl", "", "")])


def test_two_benchmarks_of_one_name_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    names = [write(tmp_path / "piqa.jsonl", GOOD), write(tmp_path / "other" / "piqa.jsonl", GOOD)]
    for twice in (names, [names[0], "piqa"]):
        with pytest.raises(DataError, match="two of them are called piqa"):
            benchmarks(None, twice)


def test_without_names_nothing_is_started():
    assert benchmarks(None, []) == {}


def test_other_fields_are_left_alone(tmp_path):
    name = write(tmp_path / "bees.jsonl", GOOD | {"id": 7, "subject": "bees"})
    assert read(name) == [GOOD]


def found(results, samples=(), parts=()):
    return {
        "results": {"some": {"alias": "some", **results}},
        "samples": {"some": list(samples)},
        "group_subtasks": {"some": list(parts)},
        "versions": {"some": 1.0},
        "n-shot": {"some": 5},
        "n-samples": {n: {"original": 900, "effective": 2} for n in (parts or ["some"])},
    }


def test_values_and_errors_are_the_harness_s_and_items_keep_their_order():
    samples = [{"filter": "none", "acc": acc} for acc in (1.0, 0.0)]
    scores = _scores("some", found({"acc,none": 0.5, "acc_stderr,none": 0.1}, samples))
    assert scores == {
        "n": 2,
        "version": "1.0",
        "shots": 5,
        "metrics": {
            "acc": {
                "value": 0.5,
                "stderr": 0.1,
                "interval": pytest.approx([0.304, 0.696]),
                "items": [1.0, 0.0],
            }
        },
    }


def test_the_interval_of_a_share_ends_at_one():
    samples = [{"filter": "none", "acc": acc} for acc in (1.0, 0.8)]
    scores = _scores("some", found({"acc,none": 0.9, "acc_stderr,none": 0.1}, samples))
    assert scores["metrics"]["acc"]["interval"] == pytest.approx([0.704, 1.0])


def test_each_way_of_reading_an_answer_has_its_own_items():
    results = {"exact_match,strict": 0.0, "exact_match,loose": 1.0}
    samples = [{"filter": f, "exact_match": v} for f, v in (("strict", 0), ("loose", 1)) * 2]
    metrics = _scores("some", found(results, samples))["metrics"]
    assert metrics["exact_match,strict"]["items"] == [0.0, 0.0]
    assert metrics["exact_match,loose"]["items"] == [1.0, 1.0]


def test_one_item_alone_has_no_error():
    samples = [{"filter": "none", "acc": 1.0}]
    metrics = _scores("some", found({"acc,none": 1.0, "acc_stderr,none": "N/A"}, samples))[
        "metrics"
    ]
    assert metrics["acc"]["stderr"] is None
    assert metrics["acc"]["interval"] is None


@pytest.mark.parametrize("values", [((1, 2), (3, 4)), (-5.0, -7.0)])
def test_what_is_no_mean_over_items_has_none(values):
    samples = [{"filter": "none", "perplexity": value} for value in values]
    assert (
        "items"
        not in _scores("some", found({"perplexity,none": 403.4}, samples))["metrics"]["perplexity"]
    )


def test_a_group_counts_the_items_of_its_tasks():
    scores = _scores("some", found({"acc,none": 0.5}, parts=["a", "b", "c"]))
    assert scores["n"] == 6
    assert scores["parts"] == ["a", "b", "c"]
    assert "items" not in scores["metrics"]["acc"]
