"""The typed recipe: read, overridden, checked. Its keys are in `appliance.sections`.

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
from pydantic import BaseModel, Field, ValidationError

from appliance.errors import RecipeError
from appliance.sections import Section
from appliance.sections.judging import EvaluateSection, ExportSection, PolicySection, WandbSection
from appliance.sections.source import AuditSection, DataSection, ModelSection
from appliance.sections.training import (
    AdapterSection,
    AlarmSection,
    AnchorSection,
    DpoSection,
    EwcSection,
    RehearsalSection,
    TrainSection,
)

_LIST = "`appliance recipes show sft` lists every key."
# The documented learning rates by (method, are all weights trained?). Of an adapter: the QLoRA
# paper and Unsloth's guide. Of all weights: TRL's default of 2e-5, and Tulu 3 (arXiv 2411.15124).
_RATES = {
    ("sft", False): (1e-4, 2e-4),
    ("dpo", False): (5e-6, 5e-6),
    ("sft", True): (5e-6, 2e-5),
    ("dpo", True): (5e-7, 5e-7),
}


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
    ewc: EwcSection = EwcSection()
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
        given = self.rehearsal.self is not False or self.rehearsal.sources
        beside = self.general_share and (self.rehearsal.loss or self.anchor.kl)
        return bool(given and (beside or self.ewc.strength))

    @property
    def general_share(self) -> float:
        """General rows as a share of all rows of a step (docs/forgetting.md: how it was chosen)."""
        section = self.rehearsal
        own = not section.sources if section.self is None else section.self
        return (0.3 if own else 0.2) if section.share_of_rows is None else section.share_of_rows

    def warnings(self) -> list[str]:
        """What is outside the documented ranges, and what to expect of it."""
        said = []
        r, rate, epochs = self.adapter.r, self.train.learning_rate, self.train.epochs
        whole = self.adapter.kind == "none"
        if not whole and not 16 <= r <= 64:
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
        low, high = _RATES[self.method, whole]
        if not low <= rate <= high:
            documented = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            said.append(
                f"train.learning_rate={rate:g} is outside the documented {documented} for "
                f"{self.method}{' of all weights' if whole else ''}: "
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
        recipe = Recipe.model_validate(tree)
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
    _check_together(recipe, source)
    return recipe


def _check_together(recipe: Recipe, source: str) -> None:
    """Keys that are right alone and not together. Raises RecipeError, which names both."""
    kind = recipe.adapter.kind
    if kind == "none" and recipe.model.bits != 16:
        raise RecipeError(
            f"{source}: adapter.kind: none trains all weights, and those of model.bits: "
            f"{recipe.model.bits} cannot be trained.",
            "Set model.bits=16, or adapter.kind=lora.",
        )
    if kind != "lora" and recipe.ewc.strength > 0:
        raise RecipeError(
            f"{source}: ewc.strength is for adapter.kind: lora alone, and adapter.kind is {kind}.",
            "Set ewc.strength=0 and leave it to anchor.kl, or adapter.kind=lora.",
        )
    if recipe.evaluate.canaries and recipe.method != "sft":
        raise RecipeError(
            f"{source}: evaluate.canaries is for method: sft alone, and method is {recipe.method}.",
            "Set evaluate.canaries=false.",
        )


def _nearest(key: str, section: bool = False) -> str:
    if section:
        sections = {name.rpartition(".")[0] for name, _ in keys()} - {""}
        near = difflib.get_close_matches(key, sections, n=1)
        return f"Did you mean the section {near[0]}?" if near else _LIST
    known = [name for name, _ in keys()]
    # Of two keys of one name the first in the recipe is meant: train.epochs before alarm.epochs.
    leaf = {name.rsplit(".", 1)[-1]: name for name in reversed(known)}
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    # A key in the wrong section is the commonest slip: look for its own name first.
    last = key.rsplit(".", 1)[-1]
    own = difflib.get_close_matches(last, leaf, n=1, cutoff=0.75)
    name = leaf[own[0]] if own else (near[0] if near else None)
    return f"Did you mean {name}?" if name else _LIST
