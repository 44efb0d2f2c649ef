"""The sections of a recipe: every key there is, its default, and where the default comes from.

`appliance.recipe` puts them together; `docs/recipes.md` is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Form = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "columns",
    "preference", "dialogue_pairs",
]  # fmt: skip


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


class AdapterSection(Section):
    kind: Literal["lora", "dora", "none"] = Field(
        "lora",
        description="`lora` (Hu et al. 2021), `dora` (Liu et al. 2024: direction and length apart; "
        "slower), or `none`: full fine-tuning, all weights are trained (needs `model.bits: 16`).",
    )
    rank_stabilized: bool = Field(
        False, description="Scale alpha / sqrt(r) in place of alpha / r (Kalajdzievski 2023)."
    )
    r: int = Field(
        16,
        ge=1,
        description="Rank. 16 for a style or format, 64 for a domain shift (Unsloth's LoRA "
        "hyperparameter guide: 16-64).",
    )
    alpha: int = Field(
        32,
        ge=1,
        description="Scale: alpha / r multiplies the adapter (Unsloth's guide: alpha = r or 2r; 2r "
        "where the KL anchor slows the learning, docs/forgetting.md).",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="0 as Unsloth documents: its kernels are fastest there."
    )
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="All seven linear layers (QLoRA paper, section 4: as good as full "
        "fine-tuning only when all are adapted).",
    )


class TrainSection(Section):
    epochs: float = Field(
        3, gt=0, description="Passes over the rows. 1-3 (Unsloth's guide); more memorizes."
    )
    learning_rate: float = Field(
        2e-4, gt=0, description="SFT 1e-4 to 2e-4 (QLoRA paper; Unsloth's guide), DPO 5e-6."
    )
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = Field(
        "linear", description="Learning-rate schedule after warm-up (Unsloth's notebooks)."
    )
    warmup_share: float = Field(
        0.05, ge=0, lt=1, description="Share of the steps with a rising rate (Unsloth: 5-10 %)."
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's (Unsloth's guide: 0.01).")
    max_grad_norm: float = Field(
        1.0, gt=0, description="Gradients are clipped to this norm (TRL's default)."
    )
    batch_size: int = Field(
        16, ge=1, description="Effective batch: rows for one optimizer step (Unsloth's guide: 16)."
    )
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="Rows at once; unset: 4 on a GPU, on a CPU what 4,096 tokens hold.",
    )
    max_steps: int | None = Field(None, ge=1, description="Stop after so many optimizer steps.")
    gradient_checkpointing: bool | None = Field(
        None,
        description="Recompute activations to save memory; unset: on a GPU yes (Unsloth's), on "
        "CPU no (it costs a third of the time and memory is not short).",
    )
    evaluations: int = Field(
        4, ge=0, description="How many times the held-out loss is measured in training."
    )
    patience: int = Field(
        2,
        ge=0,
        description="Early stopping: held-out losses in a row that are no better than the best, "
        "after which training ends; 0: never. The adapter kept is the best one measured.",
    )
    seed: int = Field(3407, ge=0, description="Seed of split, order, adapter and sampling.")


class DpoSection(Section):
    beta: float = Field(
        0.1, gt=0, description="Strength of the pull to the reference (Rafailov et al. 2023)."
    )


class Source(Section):
    """General rows, and their share among the general rows (any positive weight)."""

    path: str
    share: float = Field(1.0, gt=0)


class RehearsalSection(Section):
    self: bool | None = Field(
        None,
        description="Self-rehearsal: before training the base writes general dialogues, which are "
        'rehearsed beside the task\'s rows (SA-SFT, "Talking to Yourself", arXiv 2602.20162). '
        "Unset: yes where `sources` is empty.",
    )
    sources: tuple[str | Source, ...] = Field(
        (),
        description="Files of general rows to rehearse (any form that `data.train` takes), each a "
        "name, or `{path: …, share: …}` with its share among them.",
    )
    share_of_rows: float = Field(
        0.2, ge=0, le=0.9, description="Rehearsed rows as a share of all rows of a step; 0: none."
    )
    dialogues: int = Field(400, ge=8, description="How many dialogues the base writes.")
    loss: float = Field(
        0.0, ge=0, description="Weight of the loss on the rehearsed answers (SA-SFT itself: 1)."
    )


class AnchorSection(Section):
    kl: float = Field(
        1.0,
        ge=0,
        description="Weight of the KL to the base (adapter off) on the rehearsed answers, in nats "
        "per token.",
    )


class EwcSection(Section):
    strength: float = Field(
        0.0,
        ge=0,
        description="Weight of the quadratic penalty on the change of the weights, by the Fisher "
        "information of the base on the rehearsed dialogues (Kirkpatrick et al. 2017), in nats per "
        "token as `anchor.kl`. 0: none.",
    )
    dialogues: int = Field(
        64, ge=1, description="Rehearsed dialogues that the Fisher information is estimated on."
    )


AlarmName = Literal[
    "loss_under", "first_epoch_under", "held_out_rise", "drift", "not_finite", "epochs",
    "chosen_falls", "margin_over", "accuracy_at_once",
]  # fmt: skip


class AlarmSection(Section):
    loss_under: float = Field(
        0.2,
        ge=0,
        description="The smoothed training loss under which the alarm rises, unless the held-out "
        "loss is as low. A rule of thumb (Unsloth's guide: under 0.2 it is likely overfitting).",
    )
    first_epoch_under: float = Field(
        0.2,
        ge=0,
        description="The same within the first epoch, whatever the held-out loss: the rows are too "
        "few or too much alike.",
    )
    held_out_rise: float = Field(
        0.1,
        ge=0,
        description="Rise of the held-out loss over its best, as a share of it, while the training "
        "loss falls.",
    )
    drift: float = Field(
        0.25,
        ge=0,
        description="Drift budget: KL per token against the base on its own answers, in nats.",
    )
    epochs: float = Field(3.0, gt=0, description="Passes over the rows; more memorizes.")
    margin_over: float = Field(
        10.0, gt=0, description="DPO: the smoothed reward margin that is an explosion."
    )
    lower_rate: tuple[AlarmName, ...] = Field(
        (), description="Alarms at which the learning rate is halved. Others only warn."
    )
    stop: tuple[AlarmName, ...] = Field(
        (), description="Alarms that end training; the adapter is kept. `not_finite` always does."
    )


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
        "warn",
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
    merged: bool = Field(True, description="Write the merged 16-bit model beside the adapter.")
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
