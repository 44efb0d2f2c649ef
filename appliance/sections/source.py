"""What is trained on what: the model, the rows and their audit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from appliance.sections import Section

Form = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "columns",
    "preference", "dialogue_pairs",
]  # fmt: skip


class ModelSection(Section):
    name: str = Field(
        "embedded",
        description="`embedded` (SmolLM2-135M-Instruct, comes with the appliance), a model folder, "
        "or a hub id such as `Qwen/Qwen3-8B`.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    bits: Literal[4, 16] = Field(
        4,
        description="4: QLoRA, the frozen base in NF4 with double quantization (Dettmers et al. "
        "2023, arXiv 2305.14314). 16: LoRA on the 16-bit base.",
    )
    max_length: int = Field(
        1024, ge=16, description="Tokens; longer rows are cut at the end, and counted aloud."
    )


class ColumnsSection(Section):
    prompt: str | None = Field(None, description="Column that holds the prompt.")
    completion: str | None = Field(None, description="Column that holds the answer.")


class DataSection(Section):
    train: str = Field(
        "demo",
        description="`demo` (the embedded synthetic support-desk triage), a JSONL, JSON, CSV or "
        "Parquet file (also .gz), a folder of them, or a hub id. `none`: no task, to evaluate "
        "only.",
    )
    test: str | None = Field(
        None,
        description="Held-out rows. Unset: a `test` file beside a `train` file, else carved from "
        "`train` by prompt.",
    )
    form: Form = Field("auto", description="Form of the rows; `auto` recognizes it and says so.")
    columns: ColumnsSection = Field(ColumnsSection(), description="Names for `form: columns`.")
    system: str | None = Field(None, description="System prompt for rows that have none.")
    limit: int | None = Field(
        None, ge=1, description="Use a seeded sample of this many rows of `train`."
    )
    test_limit: int = Field(200, ge=8, description="Held-out rows that are measured, at most.")
    test_share: float = Field(0.1, gt=0, lt=0.9, description="Share carved where no `test` is.")
    valid_share: float = Field(
        0.05, ge=0, lt=0.5, description="Share of `train` kept for the held-out loss in training."
    )


Finding = Literal[
    "broken_rows", "set_aside", "secrets", "personal_data", "contradictions",
    "near_contradictions", "exact_duplicates", "near_duplicates", "repeated_prompts", "leakage",
    "probe_contamination", "truncated", "control_tokens", "broken_encoding", "wrong_roles",
    "empty_answers", "short_answers", "long_answers", "label_balance", "label_variants",
    "thin_coverage", "too_small", "homogeneous", "same_pair", "both_orders", "length_bias",
]  # fmt: skip


class AuditSection(Section):
    near: float = Field(
        0.8,
        ge=0.5,
        le=1,
        description="Share of their words from which two texts are near duplicates. Also used by "
        "the split: near prompts stay on one side.",
    )
    block: tuple[Finding, ...] = Field(
        ("broken_rows", "secrets"),
        description="Findings that end the run before a GPU minute is spent (exit 3); "
        "docs/data.md lists all. `[]`: none.",
    )
