"""The typed recipe: every key there is, its default, and where the default comes from.

A recipe file holds only what differs from these defaults. Unknown keys are refused with the
nearest known one. `docs/recipes.md` is generated from this file by `appliance.recipe_docs`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.errors import RecipeError

_LIST = "`appliance recipes show sft` lists every key."
Form = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "columns",
    "preference", "dialogue_pairs",
]  # fmt: skip


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
        "Parquet file (also .gz), a folder of them, or a hub id.",
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
    r: int = Field(
        16,
        ge=1,
        description="Rank. 16 for a style or format, 64 for a domain shift (Unsloth's LoRA "
        "hyperparameter guide: 16-64).",
    )
    alpha: int = Field(
        16, ge=1, description="Scale: alpha / r multiplies the adapter (Unsloth: alpha = r)."
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
    seed: int = Field(3407, ge=0, description="Seed of split, order, adapter and sampling.")


class DpoSection(Section):
    beta: float = Field(
        0.1, gt=0, description="Strength of the pull to the reference (Rafailov et al. 2023)."
    )


class RehearsalSection(Section):
    self: bool = Field(
        False,
        description="Self-rehearsal: before training the base writes general dialogues, which are "
        'rehearsed beside the task\'s rows (SA-SFT, "Talking to Yourself", arXiv 2602.20162).',
    )
    sources: tuple[str, ...] = Field(
        (),
        description="Files of general rows to rehearse instead (any form that `data.train` takes).",
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


class AlarmSection(Section):
    loss_under: float = Field(
        0.2,
        ge=0,
        description="The smoothed training loss under which the alarm rises. A rule of thumb "
        "(Unsloth's guide: under 0.2 it is likely overfitting); the held-out loss decides.",
    )
    action: Literal["warn", "stop"] = Field("warn", description="Only say it, or end training.")


class EvaluateSection(Section):
    off_task: str = Field(
        "builtin", description="Off-task prompts: `builtin`, or a JSONL file of `prompt` rows."
    )
    answer_tokens: int = Field(
        64, ge=8, description="Tokens of an answer to an off-task prompt, at most."
    )
    task_tokens: int | None = Field(
        None, ge=1, description="Same for the task; unset: the longest held-out answer, and 8."
    )


class PolicySection(Section):
    action: Literal["warn", "refuse"] = Field(
        "warn", description="What a verdict of no does: only say it, or refuse the export (exit 3)."
    )
    min_gain: float = Field(
        0.05, description="Gain on the task under which there is nothing to ship."
    )
    max_habit_leak: float = Field(
        0.10, ge=0, le=1, description="Share of off-task prompts answered as the task, above base."
    )
    max_drift: float = Field(
        0.25, gt=0, description="KL per token against the base on its own answers, in nats."
    )


class ExportSection(Section):
    merged: bool = Field(True, description="Write the merged 16-bit model beside the adapter.")
    strength: float = Field(1.0, ge=0, le=2, description="Scale at which the adapter is merged.")


class WandbSection(Section):
    mode: Literal["auto", "online", "offline", "off"] = Field(
        "auto",
        description="`auto`: on if WANDB_API_KEY is set (or WANDB_MODE=offline), else off. Never "
        "asks for a key.",
    )
    project: str = Field("appliance", description="W&B project.")


class Recipe(Section):
    """A whole recipe. Frozen: a stage cannot change what the next one reads."""

    method: Literal["sft", "dpo"] = Field("sft", description="What is trained, and on which rows.")
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    audit: AuditSection = AuditSection()
    adapter: AdapterSection = AdapterSection()
    train: TrainSection = TrainSection()
    dpo: DpoSection = DpoSection()
    rehearsal: RehearsalSection = RehearsalSection()
    anchor: AnchorSection = AnchorSection()
    alarm: AlarmSection = AlarmSection()
    evaluate: EvaluateSection = EvaluateSection()
    policy: PolicySection = PolicySection()
    export: ExportSection = ExportSection()
    wandb: WandbSection = WandbSection()

    def steps(self, rows: int) -> int:
        """Optimizer steps that `rows` training rows make."""
        per_epoch = max(1, -(-rows // self.train.batch_size))
        return self.train.max_steps or math.ceil(per_epoch * self.train.epochs)

    @property
    def rehearses(self) -> bool:
        """Are there general rows beside the task's?"""
        given = self.rehearsal.self or self.rehearsal.sources
        weighs = self.rehearsal.loss or self.anchor.kl
        return bool(given and weighs and self.rehearsal.share_of_rows)

    def warnings(self) -> list[str]:
        """What is outside the documented ranges, and what to expect of it."""
        said = []
        r, rate, epochs = self.adapter.r, self.train.learning_rate, self.train.epochs
        if not 16 <= r <= 64:
            said.append(
                f"adapter.r={r} is outside 16-64: "
                + (
                    "too few weights to learn much."
                    if r < 16
                    else "more memory, and more to forget."
                )
            )
        if epochs > 3 or epochs < 1:
            said.append(
                f"train.epochs={epochs:g} is outside 1-3: "
                + ("it will memorize rows." if epochs > 3 else "some rows are never seen.")
            )
        low, high = (1e-4, 2e-4) if self.method == "sft" else (5e-6, 5e-6)
        if not low <= rate <= high:
            documented = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            said.append(
                f"train.learning_rate={rate:g} is outside the documented {documented} for "
                f"{self.method}: "
                + ("it will forget more." if rate > high else "it may learn little.")
            )
        return said

    def dump(self) -> str:
        """The whole recipe as YAML, every key there is."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, pydantic field) of every leaf key."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def shipped_folder() -> Path:
    """Where the recipes that come with the appliance are: in a wheel, or in a checkout."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def find(name: str) -> Path:
    """The file of a recipe given by path or by the name of a shipped one."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = {p.stem: p for p in sorted(shipped_folder().glob("*.yaml"))}
    stem = path.stem if path.suffix in (".yaml", ".yml") else path.name
    # `recipes/sft.yaml` works from any folder, also in the image.
    if stem in shipped and path.parent.name in ("", "recipes"):
        return shipped[stem]
    near = difflib.get_close_matches(stem, shipped, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise RecipeError(
        f"There is no recipe {name}.", f"Shipped: {', '.join(shipped)}, or a YAML file.{hint}"
    )


def load(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and lay `section.key=value` overrides over it.

    Raises RecipeError: file not there, not YAML, an unknown key, a wrong value.
    """
    path = find(name)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = f"{path}" + (
            f", line {error.problem_mark.line + 1}"
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else ""
        )
        raise RecipeError(
            f"{where} is not YAML.", "Mend the file, or copy a shipped recipe."
        ) from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} holds no keys.", "Start with `appliance recipes copy sft`.")
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise RecipeError(f"--set {text} is not key=value.", "Write --set section.key=value.")
        _lay(tree, key.strip(), _scalar(value))
    return build(tree, str(path))


def _scalar(text: str) -> Any:
    """The value as YAML reads it, so 0, false, null and "" stay what they are.

    YAML 1.1 reads 2e-4 as text; a number without a dot is meant as a number.
    """
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _lay(tree: dict[Any, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            raise RecipeError(f"{section} is not a section, so {key} cannot be set.", _nearest(key))
        tree = below
    tree[last] = value


def build(tree: Mapping[Any, Any], source: str) -> Recipe:
    """Validate plain values. Raises RecipeError with the key and the nearest known one."""
    try:
        # Through strings so that a YAML float such as 2e-4 (text in YAML 1.1) becomes a number.
        return Recipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = _nearest(key, section=isinstance(first["input"], dict))
            raise RecipeError(f"{source}: unknown key {key}.", hint) from error
        raise RecipeError(
            f"{source}: {key}: {first['msg'].lower()} (it is {first['input']!r:.80}).",
            "See docs/recipes.md, or `appliance recipes show sft`.",
        ) from error


def _nearest(key: str, section: bool = False) -> str:
    if section:
        sections = {name.rpartition(".")[0] for name, _ in keys()} - {""}
        near = difflib.get_close_matches(key, sections, n=1)
        return f"Did you mean the section {near[0]}?" if near else _LIST
    known = [name for name, _ in keys()]
    leaf = {name.rsplit(".", 1)[-1]: name for name in known}
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    # A key in the wrong section is the commonest slip: look for its own name first.
    last = key.rsplit(".", 1)[-1]
    own = difflib.get_close_matches(last, leaf, n=1, cutoff=0.75)
    name = leaf[own[0]] if own else (near[0] if near else None)
    return f"Did you mean {name}?" if name else _LIST
