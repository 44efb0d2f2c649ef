"""The demo task and the off-task suite: what their README files promise."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from appliance.data.demo import make
from appliance.data.demo import patterns as p
from appliance.data.demo.faults import FAULTS
from appliance.data.demo.wishes import WISHES

SUITES = Path(__file__).resolve().parents[2] / "appliance" / "evaluate" / "suites"
ANSWER = re.compile(
    r"queue=(access|billing|hardware|network|shipping|software); blocked=(everyone|one|none)"
)


def load(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


TRAIN, TEST, PAIRS = (load(make.HERE / f"{name}.jsonl") for name in ("train", "test", "pairs"))
OFF_TASK = load(SUITES / "off_task.jsonl")


def asked(rows: list[dict[str, Any]]) -> list[str]:
    return [row["messages"][0]["content"] for row in rows]


def said(rows: list[dict[str, Any]], key: str) -> list[str]:
    return [row[key][0]["content"] for row in rows]


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_the_generator_makes_the_committed_files() -> None:
    assert make.differing(make.HERE, make.build()) == []


def test_check_names_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make.build()
    monkeypatch.setattr(make, "build", lambda: files)
    monkeypatch.setattr(make, "HERE", tmp_path)
    assert make.main([]) == 0
    assert make.main(["--check"]) == 0
    with (tmp_path / "test.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    capsys.readouterr()
    assert make.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("test.jsonl:")


@pytest.mark.parametrize(("rows", "least"), [(TRAIN, 640), (TEST, 160)], ids=["train", "test"])
def test_rows_are_many_unique_and_in_format(rows: list[dict[str, Any]], least: int) -> None:
    assert len(rows) >= least
    assert len(set(asked(rows))) == len(rows)
    for row in rows:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert ANSWER.fullmatch(row["messages"][1]["content"]), row
    assert all(12 <= n <= 40 for n in count_words(asked(rows)))
    assert 15 <= mean(count_words(asked(rows))) <= 22


@pytest.mark.parametrize("rows", [TRAIN, TEST], ids=["train", "test"])
def test_queues_and_who_is_blocked_are_balanced(rows: list[dict[str, Any]]) -> None:
    cells = Counter(row["messages"][1]["content"] for row in rows)
    assert len(cells) == len(p.QUEUES) * len(p.BLOCKED)
    assert len(set(cells.values())) == 1


def test_tickets_read_like_sentences() -> None:
    for text in asked(TRAIN) + asked(TEST) + said(PAIRS, "prompt"):
        assert not re.search(r"[{}|]|  |\.\.|\b(the|a|an) (the|a|an|my|our)\b", text), text
        assert not re.search(r"\b[Aa] [aeio]\w", text), text
        assert not text[0].islower(), text


def test_no_test_ticket_is_a_training_ticket_or_nearly_one() -> None:
    train = [make.words_of(text) for text in asked(TRAIN)]
    for text in asked(TEST):
        mine = make.words_of(text)
        assert max(make.overlap(mine, other) for other in train) < 0.8, text


def test_training_and_test_share_no_sentence_pattern() -> None:
    train = {*p.PATTERNS["everyone"], *p.PATTERNS["one"], *p.HARMLESS, *p.QUESTIONS}
    test = {
        *p.TEST_PATTERNS["everyone"],
        *p.TEST_PATTERNS["one"],
        *p.TEST_HARMLESS,
        *p.TEST_QUESTIONS,
    }
    assert not train & test
    assert not {*p.GREETINGS, *p.CLOSINGS} & {*p.TEST_GREETINGS, *p.TEST_CLOSINGS}
    assert min(len(p.PATTERNS["everyone"]), len(p.PATTERNS["one"])) >= 14
    assert len(p.HARMLESS) + len(p.QUESTIONS) >= 14
    assert all(len(p.IMPACTS[blocked]) >= 10 for blocked in p.BLOCKED)


@pytest.mark.parametrize("queue", p.QUEUES)
def test_each_queue_has_many_problems_and_some_only_in_the_test(queue: str) -> None:
    faults, unseen = p.phrases(FAULTS, queue)
    assert len(set(faults)) >= 25
    assert len(set(unseen)) >= 5
    assert not set(faults) & set(unseen)
    wishes, unseen = p.phrases(WISHES, queue)
    assert len(set(wishes)) >= 14
    assert not set(wishes) & set(unseen)


def test_pairs_are_many_and_never_twice() -> None:
    assert len(PAIRS) >= 220
    prompts, chosen, rejected = (said(PAIRS, key) for key in ("prompt", "chosen", "rejected"))
    assert len(set(prompts)) == len(PAIRS)
    assert not set(prompts) & {*asked(TRAIN), *asked(TEST)}
    assert len({*chosen, *rejected}) == 2 * len(PAIRS)
    for pair in PAIRS:
        assert {key: pair[key][0]["role"] for key in pair} == {
            "prompt": "user",
            "chosen": "assistant",
            "rejected": "assistant",
        }


def test_the_length_of_a_reply_does_not_tell_which_is_better() -> None:
    chosen, rejected = count_words(said(PAIRS, "chosen")), count_words(said(PAIRS, "rejected"))
    assert all(12 <= n <= 35 for n in chosen + rejected)
    assert mean(chosen) == pytest.approx(mean(rejected), rel=0.1)
    longer = mean(a > b for a, b in zip(chosen, rejected, strict=True))
    assert 0.35 <= longer <= 0.65


def test_off_task_prompts_are_unique_and_of_two_kinds() -> None:
    assert [row["id"] for row in OFF_TASK] == [f"off-{n:03d}" for n in range(1, 65)]
    assert all(set(row) == {"id", "kind", "prompt"} for row in OFF_TASK)
    prompts = [row["prompt"] for row in OFF_TASK]
    assert len(set(prompts)) == len(prompts)
    assert all(6 <= n <= 40 for n in count_words(prompts))
    kinds = Counter(row["kind"].partition("-")[0] for row in OFF_TASK)
    assert kinds == {"open": 28, "task": 36}


def test_off_task_prompts_are_far_from_the_demo_task() -> None:
    demo = [make.words_of(text) for text in asked(TRAIN) + asked(TEST) + said(PAIRS, "prompt")]
    for row in OFF_TASK:
        mine = make.words_of(row["prompt"])
        assert max(make.overlap(mine, other) for other in demo) < 0.4, row
        assert not re.search(
            r"\b(tickets?|passwords?|invoices?|vpn|wi-fi|laptop|parcel|refund|bank|queue|blocked)\b",
            row["prompt"].lower(),
        ), row
