"""What an audit can find: every kind with its level, why it matters, and what to do."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

# Line numbers and examples that are kept of one finding; the count is always of all its rows.
LINES, EXAMPLES = 1000, 6


@dataclass(frozen=True, slots=True)
class Kind:
    """`level`: note (good to know), warn (look at it), bad (the run or its figures suffer)."""

    title: str
    level: str
    why: str
    do: str


KINDS = {
    "broken_rows": Kind(
        "broken rows",
        "bad",
        "A row with wrong roles, an empty answer or a wrong type cannot be trained on.",
        "Mend the rows; --fix sets them aside.",
    ),
    "set_aside": Kind(
        "rows of no use here",
        "note",
        "These rows are sound, but hold nothing that this method can learn from.",
        "Nothing, if that is meant; else see the reasons.",
    ),
    "secrets": Kind(
        "keys, tokens, passwords",
        "bad",
        "A model repeats what it was trained on; a secret it has learned cannot be called back.",
        "Revoke them; --fix sets the rows aside.",
    ),
    "personal_data": Kind(
        "personal data",
        "warn",
        "Cards, accounts, addresses and numbers of people may be repeated to anybody.",
        "Replace them with made-up ones, or remove the rows.",
    ),
    "contradictions": Kind(
        "one prompt, different answers",
        "bad",
        "Inconsistent answers teach the model to hedge, and no setting repairs that.",
        "Decide which answer is right; --fix sets the rows aside.",
    ),
    "near_contradictions": Kind(
        "like prompts, different answers",
        "warn",
        "Where nearly the same question has two answers, one of them is often mislabelled.",
        "Compare the pairs, and mend the wrong ones.",
    ),
    "exact_duplicates": Kind(
        "exact duplicates",
        "warn",
        "A row that stands twice counts twice: the model learns to repeat it.",
        "Keep one; --fix drops the others.",
    ),
    "near_duplicates": Kind(
        "near duplicates",
        "warn",
        "Rows that differ in a word or two teach nothing new and are memorized first.",
        "Keep the best of each group.",
    ),
    "repeated_prompts": Kind(
        "prompts like an earlier one",
        "note",
        "Prompts that return, exactly or nearly, take room from what the task also needs.",
        "Nothing, if several answers are meant; else keep one.",
    ),
    "leakage": Kind(
        "held-out rows that stand in train",
        "bad",
        "A test that shares rows with training measures memory and hides overfitting.",
        "Remove them from train; --fix does.",
    ),
    "probe_contamination": Kind(
        "probes in the training rows",
        "bad",
        "The probes measure what is forgotten; trained on, they measure nothing.",
        "Remove the rows; --fix does.",
    ),
    "truncated": Kind(
        "cut at model.max_length",
        "warn",
        "A row that is too long loses its end, and the end is the answer.",
        "Raise model.max_length, or shorten the rows.",
    ),
    "control_tokens": Kind(
        "control tokens in the text",
        "bad",
        "The template's own marks inside a text end or open turns where none end or open.",
        "Remove the marks; --fix sets the rows aside.",
    ),
    "broken_encoding": Kind(
        "broken encoding",
        "warn",
        "Text that was decoded wrongly (cafÃ©, \\ufffd) teaches the model to write like that.",
        "--fix repairs what can be repaired, and sets aside the rest.",
    ),
    "wrong_roles": Kind(
        "turns out of order",
        "warn",
        "Many templates refuse two turns of one speaker in a row, or join them.",
        "Join or remove the extra turns.",
    ),
    "empty_answers": Kind(
        "answers that say nothing",
        "warn",
        "An answer such as `...` or `N/A` teaches the model to give none.",
        "Write the answer, or remove the row.",
    ),
    "short_answers": Kind(
        "very short answers",
        "note",
        "Answers far shorter than the others teach two styles at once.",
        "Read them: are they whole?",
    ),
    "long_answers": Kind(
        "very long answers",
        "note",
        "A few very long answers carry as much loss as all the others together.",
        "Read them: are they one answer?",
    ),
    "label_balance": Kind(
        "labels out of balance",
        "warn",
        "What is rare in training is rarely answered, whatever the question.",
        "Add rows of the rare labels.",
    ),
    "label_variants": Kind(
        "labels written in two ways",
        "warn",
        "Two spellings of one label split its rows and its score.",
        "Write each label in one way.",
    ),
    "thin_coverage": Kind(
        "thinly covered subjects",
        "note",
        "Where there are few examples, the model makes up the rest.",
        "Add rows about these words, if they matter.",
    ),
    "too_small": Kind(
        "too little for the recipe",
        "warn",
        "With so few rows the loss drops in the first epoch: the rows are memorized, not the task.",
        "Add rows, or lower train.epochs and adapter.r.",
    ),
    "homogeneous": Kind(
        "rows much alike",
        "warn",
        "Rows of one mould are learned in the first epoch; what follows only memorizes.",
        "Vary the rows, or lower train.epochs.",
    ),
    "same_pair": Kind(
        "chosen equal to rejected",
        "warn",
        "A pair without a difference says nothing about what is better.",
        "Remove the pairs; --fix sets them aside.",
    ),
    "both_orders": Kind(
        "the same pair in both orders",
        "bad",
        "One of the two says that better is worse.",
        "Decide which is right; --fix sets them aside.",
    ),
    "length_bias": Kind(
        "chosen longer (or shorter)",
        "warn",
        "If length alone tells the better answer, the model learns length.",
        "Add pairs in which the shorter (or longer) answer is chosen.",
    ),
}  # fmt: skip


@dataclass
class Hits:
    """Rows of one finding, by their number in the table. `other`: the row each one is like."""

    kind: str
    rows: array[int] = field(default_factory=lambda: array("q"))
    other: dict[int, int] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, row: int, note: str = "", other: int | None = None) -> None:
        self.rows.append(row)
        # Of the others no more is kept than is shown.
        if len(self.notes) < LINES and note:
            self.notes[row] = note
        if len(self.other) < LINES and other is not None:
            self.other[row] = other
