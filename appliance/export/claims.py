"""What is claimed of an exported form, each claim with its numbers (docs/export.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.disk import sha256
from appliance.export.gguf import LORA, llamacpp
from appliance.export.process import told
from appliance.export.questions import ROOM, Job, Questions
from appliance.run import RunDir
from appliance.statistics import mean, share

RIGHT = 0.99  # of a weight's values; sums in another order round a few the other way
OFF = 1e-3  # share of a weight's change by which a factor's product may be off, in fp32
TIE = 0.25  # nats between the two likeliest tokens
NEAR_TIE = 1.0  # nats by which another token may be likelier than the end of turn
STOPS = 0.8  # share of the answers that ended, which must end in each form too


@dataclass(frozen=True)
class Tolerance:
    """kl: nats per token, at most; agreement: share of tokens with the same likeliest, at least.

    Of the tokens at which the adapter prefers one by TIE: elsewhere any rounding takes another.
    """

    kl: float
    agreement: float


# 16 bit: what rounding the weights once to bf16 changes. The quantized kinds: about four times
# what the embedded model shows, whose weights bear it worse than larger models' (docs/export.md).
TOLERANCES = {
    "merged": Tolerance(0.005, 0.99),
    "adapter": Tolerance(0.0005, 0.995),
    "gguf:bf16": Tolerance(0.01, 0.98),
    "gguf:f16": Tolerance(0.01, 0.98),
    "gguf:q8_0": Tolerance(0.02, 0.97),
    "gguf:q5_k_m": Tolerance(0.4, 0.8),
    "gguf:q4_k_m": Tolerance(0.4, 0.8),
}
# In bfloat16 each form rounds differently on its way through the layers.
ROUNDED = Tolerance(0.01, 0.97)  # the embedded model's KL: 0.0013


@dataclass(frozen=True)
class Check:
    """One claim, and whether it holds; None: it could not be measured."""

    form: str
    name: str
    holds: bool | None
    text: str
    facts: Mapping[str, Any]


def comparing(run: RunDir, base: Path, strength: float, merged: Path) -> Job:
    """The job that finds what `weights` is of."""
    return ["compare", str(base), str(run.adapter), repr(strength), str(merged)]


def weights(form: str, found: Mapping[str, Sequence[float]]) -> Check:
    """Weight by weight against what the adapter makes of it, PEFT's own merge, rounded once.

    found: {weight: (share of its values that are right, of how many, share left by rounding)}.
    """
    off = {name: right for name, (right, _, _) in found.items() if right < RIGHT}
    changed = {name: left for name, (_, count, left) in found.items() if count}
    text = f"{len(changed)} of {len(found)} weights changed, each as the adapter makes it"
    if off:
        worst = min(off, key=lambda name: off[name])
        text = (
            f"{len(off)} of {len(found)} weights are not what the adapter makes of them "
            f"({off[worst]:.0%} of the values of {worst} are)"
        )
    facts = {"off": off, "changed": len(changed), "least_left_by_rounding": min(
        changed.values(), default=None)}  # fmt: skip
    return Check(form, "weights", not off, text, facts)


def same(form: str, questions: Questions, found: Sequence[Any]) -> Check:
    """KL(adapter || form) per token, and the share of tokens at which both say the same."""
    import numpy as np

    kl, agree = [], []
    for reference, mine in zip(questions.reference, found, strict=True):
        kl += (np.exp(reference) * (reference - mine)).sum(-1).tolist()
        first, second = np.partition(reference, -2)[:, :-3:-1].T
        sure = first - second >= TIE
        agree += (reference.argmax(-1) == mine.argmax(-1))[sure].tolist()
    most = TOLERANCES[form]
    if questions.kind != "float32":
        most = Tolerance(most.kl + ROUNDED.kl, min(most.agreement, ROUNDED.agreement))
    facts: dict[str, Any] = {"kl": mean(kl), "agreement": share(agree), "tolerance": vars(most)}
    facts["arithmetic"] = questions.kind
    agreed = facts["agreement"]["value"] if agree else 1.0
    holds = facts["kl"]["value"] <= most.kl and agreed >= most.agreement
    text = (
        f"{facts['kl']['value']:.4f} nats per token from the adapter at {len(kl)} (at most "
        f"{most.kl:g}), the same token at {agreed:.1%} of the {len(agree)} that it is sure of (at "
        f"least {most.agreement:.1%})"
    )
    return Check(form, "same", bool(holds), text, facts)


def stops(form: str, questions: Questions, found: Sequence[Any]) -> Check:
    """Where the adapter's answer ends, does this one end too?"""
    hits = [
        float(mine[-1].max() - mine[-1][questions.ends].max()) <= NEAR_TIE
        for question, mine in zip(questions.asked, found, strict=True)
        if question["answer"][-1] in questions.ends
    ]
    if not hits:
        text = f"whether it stops is not measured: no answer ended within {ROOM} tokens"
        return Check(form, "stops", None, text, share(hits))
    text = f"it stops at {sum(hits)} of {len(hits)} ends of turn (at least {STOPS:.0%})"
    return Check(form, "stops", sum(hits) >= STOPS * len(hits), text, share(hits))


def files(form: str, base: Path, merged: Path) -> Check:
    """What the base shipped beside the weights is there byte for byte."""
    other = [
        p.name
        for p in base.iterdir()
        if p.is_file() and p.suffix != ".safetensors" and not p.name.startswith(".")
        if not (merged / p.name).is_file() or sha256(merged / p.name) != sha256(p)
    ]
    text = "tokenizer and template are the base's"
    if other:
        text = f"not the base's: {', '.join(other)}"
    return Check(form, "files", not other, text, {"other": other})


def of_gguf(form: str, path: Path, questions: Questions) -> list[Check]:
    found, said = questions.asked_of_gguf(path)
    asked = questions.asked
    other = [q["text"] for q, tokens in zip(asked, said["tokens"], strict=True)
             if tokens != q["ids"]]  # fmt: skip
    ends = {t for q in asked for t in q["answer"] if t in questions.ends}
    template = said["template"] == questions.tokenizer.chat_template
    checks = [
        same(form, questions, found),
        stops(form, questions, found),
        Check(form, "tokens", not other,
              f"llama.cpp reads {len(asked) - len(other)} of {len(asked)} prompts as the tokenizer "
              "does", {"other": other[:3]}),
        Check(form, "ends", ends <= set(said["ends"]),
              "llama.cpp takes the ends of turn for ends", {"ends": sorted(ends)}),
        Check(form, "template", template, "the chat template in the file is the tokenizer's"
              if template else "the chat template in the file is not the tokenizer's", {}),
    ]  # fmt: skip
    return checks


def of_lora(run: RunDir, base: Path, strength: float, forms: Mapping[str, Path]) -> list[Check]:
    """Its factors against the converter's own doing; llama.cpp loads it over a GGUF beside it."""
    path = forms[LORA]
    words = ["check", str(base), str(run.adapter), repr(strength), str(path)]
    said = told(
        ["-m", "appliance.export.lora", *words],
        "What was written for llama.cpp's --lora cannot be read",
        "Export it anew.",
    )
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    off = {name: by for name, by in found.items() if by > OFF}
    text = f"its {len(found)} changes are what the converter makes of the adapter's"
    if off:
        worst = max(off, key=lambda name: off[name])
        text = f"{len(off)} of {len(found)} changes are others ({worst} by {off[worst]:.0%})"
    checks = [Check(LORA, "weights", not off, text, {"off": off})]
    beside = next((p for form, p in forms.items() if form.startswith("gguf:") and p != path), None)
    if beside is None:
        text = "whether llama.cpp loads it is not measured: export a GGUF of the model beside it"
        return [*checks, Check(LORA, "loads", None, text, {})]
    llamacpp("lora", str(beside), str(path))
    return [*checks, Check(LORA, "loads", True, f"llama.cpp loads it over {beside.name}", {})]
