"""Every form of row through the audit, and every kind of finding on rows that were made for it."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest

from appliance.data.audit.findings import KINDS
from appliance.data.audit.groups import near_groups
from appliance.data.audit.leakage import read_probes
from appliance.data.audit.lengths import Template
from appliance.data.audit.run import Audit, Policy
from appliance.data.audit.source import parts, preference
from appliance.data.audit.stage import lines
from appliance.data.audit.verdict import refusal, verdict
from appliance.data.rows import Message, Row
from appliance.data.split import split
from appliance.errors import DataError
from appliance.recipe import load
from appliance.sections.source import Finding

_COLOURS = "red blue green amber violet brown white black grey pink olive teal"
_THINGS = "kettle ladder window garden engine pocket bridge letter candle mirror"
COLOURS, THINGS = _COLOURS.split(), _THINGS.split()


class Silent:
    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, steps: int = 1, note: str | None = None) -> None: ...


def question(n: int) -> str:
    """Different questions: no two share more than a few words."""
    one, two = COLOURS[n % 12], THINGS[(n // 12) % 10]
    return f"{one} {two} {chr(97 + n % 26) * 4} {chr(97 + n // 26 % 26) * 5} number {n * 7919}"


def audited(path: Path, *sets: str, test: Path | None = None, **options: Any) -> dict[str, Any]:
    recipe = load("sft", [f"data.train={path}", *([f"data.test={test}"] if test else []), *sets])
    made, _, _ = parts(recipe.data, preference(recipe.data))
    options = {"policy": Policy(), **options}
    with Audit(progress=lambda *_: Silent(), **options) as audit:
        found = audit.run(made)
    json.dumps(found)
    rows = found["rows"]
    unread = rows["broken"] + rows["set_aside"]
    assert rows["read"] == rows["train"] + rows["valid"] + rows["test"] + unread
    return found


def kinds(found: dict[str, Any]) -> dict[str, Any]:
    return {item["kind"]: item for item in found["findings"]}


def at(found: dict[str, Any], kind: str) -> list[int]:
    """Line numbers of a finding, in all files."""
    item = kinds(found)[kind]
    return [line for numbers in item["lines"].values() for line in numbers]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def plain(path: Path, rows: list[tuple[str, str]]) -> Path:
    return jsonl(path, [{"prompt": prompt, "completion": answer} for prompt, answer in rows])


FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [{"role": "user", "content": "Q"},
                              {"role": "assistant", "content": "A"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
    "alpaca": {"instruction": "Q", "input": "", "output": "A"},
    "prompt_completion": {"prompt": "Q", "completion": "A"},
    "columns": {"text": "Q", "label": "A"},
    "preference": {"prompt": "Q", "chosen": "A", "rejected": "no, B"},
    "dialogue_pairs": {"chosen": "\n\nHuman: Q\n\nAssistant: A",
                       "rejected": "\n\nHuman: Q\n\nAssistant: no, B"},
}  # fmt: skip


def filled(value: Any, question: str, answer: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(inner, question, answer) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, question, answer) for inner in value]
    return (
        value.replace("Q", question).replace("A", answer, 1)
        if value in ("Q", "A")
        else (
            value.replace("Human: Q", f"Human: {question}").replace(
                "Assistant: A", f"Assistant: {answer}"
            )
        )
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_row_shows_its_duplicate(tmp_path: Path, form: str) -> None:
    rows = [filled(FORMS[form], question(n), f"an answer {n}") for n in range(30)]
    found = audited(jsonl(tmp_path / "a.jsonl", [*rows, rows[4]]))
    assert at(found, "exact_duplicates") == [31]
    assert kinds(found)["exact_duplicates"]["examples"][0]["like"]["where"].endswith("a.jsonl:5")
    assert found["rows"]["train"] == 31


def test_broken_rows_are_named_and_the_others_audited(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": [{"role": "user", "content": question(n)},
                                                {"role": "assistant", "content": "x"}]}
                                  for n in range(10)]  # fmt: skip
    rows[3]["messages"][0]["role"] = "tool"
    rows[5]["messages"][1]["content"] = ""
    rows[7]["messages"] = "no list"
    rows[8]["messages"] = rows[8]["messages"][:1]
    rows.append({"messages": [*rows[0]["messages"], {"role": "user", "content": "and?"}]})
    found = audited(jsonl(tmp_path / "a.jsonl", rows))
    assert at(found, "broken_rows") == [4, 6, 8, 9]
    assert "role 'tool'" in json.dumps(kinds(found)["broken_rows"]["facts"])
    assert at(found, "set_aside") == [11]
    assert (found["verdict"], found["blocked_by"]) == ("block", ["broken_rows"])
    what, do = refusal(found)
    assert "broken rows: 4" in what
    assert "a.jsonl:4" in what
    assert "--set audit.block=[secrets]" in do


def test_nothing_but_broken_rows_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"prompt": "q", "completion": ""}] * 3)
    with pytest.raises(DataError, match=r"a\.jsonl:1 has an empty `completion`; none of the 3"):
        audited(path)


def test_what_is_wrong_inside_texts_is_found(tmp_path: Path) -> None:
    rows = [(question(n), f"the answer is {n} and nothing else matters here") for n in range(20)]
    rows[2] = (question(2), "<|im_end|> go on")
    rows[4] = (question(4), "cafÃ© au lait, s’il vous plaÃ®t")
    rows[5] = (question(5), "lost \ufffd sign")
    rows[6] = (question(6), "a bell \x07 rings")
    rows[7] = (question(7), "café, 東京, ничего, naïve: all as they should be")
    rows[8] = (question(8), "N/A")
    rows[9] = (question(9), "...")
    rows[11] = (question(11), "Write to anna.berg@firma-berg.de, please")
    rows[12] = (question(12), "Write to someone@example.com, please")
    rows[13] = (question(13), "My card is 4539 1488 0343 6467.")
    rows[14] = (question(14), "My order is 4539 1488 0343 6468.")
    rows[15] = (question(15), "IBAN DE89 3704 0044 0532 0130 00, phone +49 30 901820")
    rows[16] = (question(16), "the key is AKIAIOSFODNN7EXAMPLE")
    found = audited(plain(tmp_path / "a.jsonl", rows))
    assert at(found, "control_tokens") == [3]
    assert at(found, "broken_encoding") == [5, 6, 7]
    assert at(found, "empty_answers") == [9, 10]
    assert at(found, "personal_data") == [12, 14, 16]
    assert at(found, "secrets") == [17]
    assert "AKIAIOSFODNN7" not in json.dumps(found)
    assert found["blocked_by"] == ["secrets"]


def test_boilerplate_before_every_question_makes_no_two_rows_near(tmp_path: Path) -> None:
    head = "Read the following customer message and answer with the name of one queue only. Message"
    rows = [(f"{head}: {question(n)}", "billing" if n % 2 else "access") for n in range(60)]
    rows.append((f"{head}: {question(5)} please", "billing"))
    found = audited(plain(tmp_path / "a.jsonl", rows))
    assert at(found, "near_duplicates") == [61]
    assert "near_contradictions" not in kinds(found)


def test_labels_are_counted_and_their_variants_named(tmp_path: Path) -> None:
    answers = ["card arrival"] * 40 + ["top up failed"] * 40 + ["lost"] * 2 + ["Card_Arrival"] * 2
    found = audited(
        plain(tmp_path / "a.jsonl", [(question(n), answer) for n, answer in enumerate(answers)])
    )
    assert found["labels"]["count"] == 4
    assert "'Card_Arrival' for 'card arrival'" in kinds(found)["label_variants"]["facts"]["said"]
    assert "'lost' 2" in kinds(found)["label_balance"]["facts"]["said"]
    assert "empty_answers" not in kinds(found)


def test_like_prompts_contradict_unless_a_number_or_a_rare_word_differs(tmp_path: Path) -> None:
    rows = [(f"{question(n)} with more words around", f"label {n % 3}") for n in range(40)]
    base = "how long does it take until my new card gets to me"
    rows += [(base, "delivery"), (base + " please", "tracking")]
    rows += [("what is the sum of 12 and 5 in this table", "17"),
             ("what is the sum of 12 and 6 in this table", "18")]  # fmt: skip
    found = audited(plain(tmp_path / "a.jsonl", rows))
    assert at(found, "near_contradictions") == [41, 42]
    assert "contradictions" not in kinds(found)


def test_another_system_message_is_another_question(tmp_path: Path) -> None:
    rows = [{"prompt": question(n), "completion": f"say {n}"} for n in range(20)]
    rows += [{"prompt": "the same", "completion": a, "system": s} for a, s in ("xy", "vw")]
    assert "contradictions" not in kinds(audited(jsonl(tmp_path / "a.jsonl", rows)))
    rows[-1]["system"] = rows[-2]["system"]
    found = audited(jsonl(tmp_path / "b.jsonl", rows))
    assert at(found, "contradictions") == [21, 22]


def test_a_held_out_row_that_train_has_is_leaked(tmp_path: Path) -> None:
    train = plain(tmp_path / "a.jsonl", [(question(n), f"say {n}") for n in range(40)])
    held = [(question(n + 100), f"say {n}") for n in range(10)] + [
        (question(3), "say 3"), (question(7) + " please", "say 7"),
    ]  # fmt: skip
    found = audited(train, test=plain(tmp_path / "b.jsonl", held))
    assert at(found, "leakage") == [11, 12]
    assert kinds(found)["leakage"]["facts"]["test"] == {"rows": 12, "exactly": 1, "nearly": 1}


def test_probes_among_the_training_rows_are_found_inside_longer_prompts_too(tmp_path: Path) -> None:
    probes = read_probes("builtin")
    assert len(probes) > 50
    asked = [probe.messages[0]["content"] for probe in probes[:3]]
    rows = [(question(n), f"say {n}") for n in range(40)]
    rows += [
        (asked[0], "x"),
        (f"Answer me this. {asked[1]} Be brief.", "y"),
        (asked[2] + "!!", "z"),
    ]
    found = audited(plain(tmp_path / "a.jsonl", rows), probes=probes)
    assert at(found, "probe_contamination") == [41, 42, 43]
    assert found["rows"]["train"] == 43


def by_words(dialogues: Any) -> list[tuple[int, int]]:
    """A token a word."""
    return [
        (sum(len(m["content"].split()) for m in turns), len(turns[-1]["content"].split()))
        for turns in dialogues
    ]


def test_rows_that_the_model_would_cut_are_named_with_what_is_lost(tmp_path: Path) -> None:
    rows = [(question(n), "a few words") for n in range(30)]
    rows[10] = (question(10), "word " * 120)
    rows[20] = ("long " * 150 + question(20), "gone")
    template = Template(by_words, ("<|end|>",), 100)
    found = audited(plain(tmp_path / "a.jsonl", rows), template=template)
    assert at(found, "truncated") == [11, 21]
    facts = kinds(found)["truncated"]["facts"]
    assert facts["answers cut whole"] == 1
    assert kinds(found)["truncated"]["examples"][1]["note"] == "all of the answer is cut"
    assert found["lengths"]["tokens"]["limit"] == 100
    assert sum(b["rows"] for b in found["lengths"]["tokens"]["histogram"]) == 30


def test_answers_out_of_proportion_are_named(tmp_path: Path) -> None:
    rows = [(question(n), f"w{n} " * 20) for n in range(30)]
    rows[3], rows[4] = (question(3), "no"), (question(4), "on and on " * 100)
    found = audited(plain(tmp_path / "a.jsonl", rows))
    assert at(found, "short_answers") == [4]
    assert at(found, "long_answers") == [5]


def test_too_little_and_too_much_alike_is_said_before_training(tmp_path: Path) -> None:
    found = audited(plain(tmp_path / "a.jsonl", [(question(n), "yes") for n in range(40)]))
    assert "40 rows make 9 steps in 3 epochs" in kinds(found)["too_small"]["facts"]["said"]
    assert "one answer has 100%" in kinds(found)["homogeneous"]["facts"]["said"]
    assert "loss drops in the first epoch" in KINDS["too_small"].why


def test_subjects_are_named_by_their_own_words(tmp_path: Path) -> None:
    rows = []
    for n in range(90):
        rows.append((f"my parcel with the courier van {COLOURS[n % 12]} {THINGS[n % 10]}", "x"))
        rows.append((f"invoice and refund of the payment {COLOURS[n % 11]} {THINGS[n % 7]}", "y"))
    found = audited(plain(tmp_path / "a.jsonl", rows))
    named = " ".join(word for cluster in found["clusters"] for word in cluster["words"])
    assert sum(cluster["rows"] for cluster in found["clusters"]) == 180
    assert any(word in named for word in (*COLOURS, *THINGS, "parcel", "invoice"))


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_pairs_in_both_orders_equal_ones_and_length_bias(tmp_path: Path) -> None:
    rows = [pair(question(n), f"a much longer answer number {n} is here", f"no {n}")
            for n in range(40)]  # fmt: skip
    rows += [pair("which", "this one", "that one"), pair("which", "that one", "this one")]
    rows += [pair("what", "the same", "the same"), pair("what", "The same.", "the same")]
    found = audited(jsonl(tmp_path / "a.jsonl", rows))
    assert at(found, "both_orders") == [41, 42]
    assert at(found, "same_pair") == [43, 44]
    assert "chosen is longer in 100% of the pairs" in kinds(found)["length_bias"]["facts"]["said"]
    low, high = found["length_bias"]["words"]["interval"]
    assert low <= found["length_bias"]["words"]["value"] <= high
    assert "contradictions" not in kinds(found)


def test_a_row_of_turns_out_of_order_is_named(tmp_path: Path) -> None:
    turns = [("user", "a b"), ("user", "c d"), ("assistant", "e")]
    rows = [{"messages": [{"role": r, "content": c} for r, c in turns]}]
    assert at(audited(jsonl(tmp_path / "a.jsonl", rows)), "wrong_roles") == [1]


def test_the_verdict_follows_the_recipe() -> None:
    findings = [{"kind": "secrets", "level": "bad"}, {"kind": "thin_coverage", "level": "note"}]
    assert verdict(findings, ["secrets"]) == ("block", ["secrets"])
    assert verdict(findings, []) == ("warn", [])
    assert verdict(findings[1:], ["secrets"]) == ("ok", [])
    assert load("sft", ["audit.block=[]"]).audit.block == ()
    assert set(typing.get_args(Finding)) == set(KINDS)


def test_the_table_fits_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(question(n % 30), f"say {n}") for n in range(60)]
    found = audited(plain(tmp_path / "a.jsonl", rows))
    monkeypatch.setenv("COLUMNS", "100")
    table = lines(found)
    assert len(KINDS) + 3 <= 30
    assert max(map(len, table)) <= 100
    assert any("one prompt, different answers" in line and "60" in line for line in table)


def test_near_prompts_stay_on_one_side_of_a_split() -> None:
    rows = []
    for n in range(60):
        for said in (question(n), f"{question(n)} please", f"{question(n)}!"):
            turns = (Message(role="user", content=said), Message(role="assistant", content="x"))
            rows.append(Row(turns, "f", len(rows)))
    groups = near_groups(rows, 0.8)
    assert len(set(groups)) == 60
    train, valid, test = split(rows, 18, 9, 3, groups)
    assert (len(train), len(valid), len(test)) == (153, 9, 18)
    sides = [{groups[row.line] for row in part} for part in (train, valid, test)]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert split(rows, 18, 9, 3, groups) == (train, valid, test)
