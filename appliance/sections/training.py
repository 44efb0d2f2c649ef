"""How it is trained: the adapter, the steps, what is done against forgetting, the alarms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from appliance.sections import Section


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
        64,
        ge=1,
        description="Scale: alpha / r multiplies the adapter (Unsloth's guide: alpha = r or 2r; "
        "4r beside the KL anchor, where both the task and the anchor are learned better, "
        "docs/forgetting.md).",
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
    schedule: Literal["warmup_stable_decay", "linear", "cosine", "constant_with_warmup"] = Field(
        "warmup_stable_decay",
        description="Learning-rate schedule after warm-up: at its height, then down in the last "
        "three tenths (MiniCPM, arXiv 2404.06395), measured beside the KL anchor, "
        "docs/forgetting.md; `linear` as in Unsloth's notebooks.",
    )
    warmup_share: float = Field(
        0.05, ge=0, lt=1, description="Share of the steps with a rising rate (Unsloth: 5-10 %)."
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's (Unsloth's guide: 0.01).")
    max_grad_norm: float = Field(
        1.0, gt=0, description="Gradients are clipped to this norm (TRL's default)."
    )
    batch_size: int = Field(
        8,
        ge=1,
        description="Effective batch: rows for one optimizer step. More steps learn the task and "
        "the KL anchor better (docs/forgetting.md); Unsloth's guide has 16.",
    )
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="Rows at once on a card; unset: on a GPU as many as fit, kept for each model, "
        "card and length (docs/plan.md), on a CPU what 2,048 tokens hold.",
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
    checkpoint_minutes: float = Field(
        5, ge=0, description="A checkpoint every so many minutes, from which a stopped run goes on."
    )
    checkpoints: int = Field(2, ge=1, description="So many of them are kept, until training ends.")
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
    share_of_rows: float | None = Field(
        None,
        ge=0,
        le=0.9,
        description="Rehearsed rows as a share of all rows of a step; 0: none. Unset: 0.3 where "
        "the base writes them itself, 0.2 of given sources alone.",
    )
    dialogues: int = Field(400, ge=8, description="How many dialogues the base writes.")
    loss: float = Field(
        0.0, ge=0, description="Weight of the loss on the rehearsed answers (SA-SFT itself: 1)."
    )


class AnchorSection(Section):
    kl: float = Field(
        2.0,
        ge=0,
        description="Weight of the KL to the base (adapter off) on the rehearsed answers: at their "
        "first token, and the mean over the others, in nats.",
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
