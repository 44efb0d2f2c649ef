"""What is measured, what may be shipped, and where it goes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from appliance.sections import Section

Format = Literal[
    "merged", "adapter", "gguf:lora",
    "gguf:bf16", "gguf:f16", "gguf:q8_0", "gguf:q5_k_m", "gguf:q4_k_m",
]  # fmt: skip


class EvaluateSection(Section):
    off_task: str = Field(
        "builtin", description="Off-task prompts: `builtin`, or a JSONL file of `prompt` rows."
    )
    suites: tuple[str, ...] = Field(
        ("instruction", "knowledge", "reasoning", "safety"),
        description="The other axes of behaviour: shipped suites, or JSONL files of items "
        "(docs/evaluation.md).",
    )
    tuned: str | None = Field(
        None,
        description="A model that was tuned elsewhere (folder, hub id, PEFT adapter), measured in "
        "place of a run's own adapter; `evaluate MODEL --base BASE` sets it.",
    )
    answer_tokens: int = Field(
        64, ge=8, description="Tokens of an answer to an off-task prompt, at most."
    )
    task_tokens: int | None = Field(
        None, ge=1, description="Same for the task; unset: the longest held-out answer, and 8."
    )
    benchmarks: tuple[str, ...] = Field(
        (),
        description="Standard benchmarks through lm-evaluation-harness: names of its tasks, or "
        "JSONL files of `question`, `choices`, `answer`.",
    )
    benchmark_items: int = Field(
        200, ge=1, description="Items of each benchmark (of a group: of each task), the first ones."
    )
    alternatives: bool = Field(
        True,
        description="Measure few-shot and retrieval beside zero-shot, so that the report can say "
        "whether fine-tuning was needed.",
    )
    canaries: bool = Field(
        False,
        description="Plant made-up secrets in the training rows, at 1, 4 and 16 repeats, and "
        "measure how exposed they are (Carlini et al. 2019). SFT alone; the model learns them.",
    )
    real_world: str | None = Field(
        None,
        description="A small file of real rows beside the held-out ones, scored in the same way: "
        "where the two disagree, the held-out rows share the training rows' quirks.",
    )


class PolicySection(Section):
    """Unset numbers are the preset's (`gate.PRESETS`)."""

    preset: Literal["lenient", "default", "strict"] = Field(
        "default",
        description="The limits below where they are unset; `strict` also takes what is unclear "
        "for a no.",
    )
    action: Literal["warn", "refuse"] = Field(
        "refuse",
        description="What a verdict of no does: only say it, or refuse the export (exit 3).",
    )
    dial: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Look for the strength at which the adapter passes: `auto` where it fails as "
        "trained.",
    )
    min_gain: float | None = Field(
        None, description="Gain on the task under which there is nothing to ship."
    )
    max_habit_leak: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of off-task prompts answered out of form (as the task, as a machine, "
        "not at all), above the base's.",
    )
    max_loss: float | None = Field(
        None, ge=0, le=1, description="Loss on any other axis, as a share of its items."
    )
    max_loss_on: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="The same for one axis, e.g. `{safety: 0.05}`; goes before `max_loss`."
    )
    max_drift: float | None = Field(
        None, gt=0, description="KL per token against the base on its own answers, in nats."
    )
    max_recited: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the training rows recited, above that of held-out rows.",
    )


class ExportSection(Section):
    formats: tuple[Format, ...] = Field(
        ("merged",),
        description="What is written beside the adapter: `merged` (16 bit, for transformers and "
        "vLLM), `adapter` (PEFT's form, at the strength), and for llama.cpp and Ollama "
        "`gguf:bf16`, `gguf:f16`, `gguf:q8_0`, `gguf:q5_k_m`, `gguf:q4_k_m`, or `gguf:lora`, the "
        "adapter alone. `[]`: nothing.",
    )
    strength: float | None = Field(
        None,
        ge=0,
        le=2,
        description="Scale at which the adapter is merged. Unset: as trained (1), or where that "
        "fails the gate the strength that the dial found.",
    )


class WandbSection(Section):
    mode: Literal["auto", "online", "offline", "off"] = Field(
        "auto",
        description="`auto`: on if WANDB_API_KEY is set (or WANDB_MODE=offline), else off. Never "
        "asks for a key.",
    )
    project: str = Field("appliance", description="W&B project.")

    @field_validator("mode", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        """YAML 1.1 reads a bare `off` as false."""
        return "off" if value is False else value
