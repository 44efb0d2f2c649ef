"""Is what ships what was trained? -> export/proof.json.

The same questions go to the adapter on the 16-bit base (PEFT, not merged), to the merged model
(plain transformers) and to each GGUF file (llama.cpp), each in a process of its own. The adapter
answers them greedily; each form is then asked what it says at every token of those answers, and KL
and agreement are of that. On the CPU and in fp32, so that what differs is the weights; in bfloat16
where the memory holds no more, and where it holds not even that, what could not be asked is said.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import memory
from appliance.console import console
from appliance.data.rows import read_pairs, read_rows
from appliance.disk import read_jsonl, sha256
from appliance.export.gguf import LORA, llamacpp
from appliance.export.llamacpp import CONTEXT
from appliance.export.modelfile import TRIED
from appliance.export.process import told
from appliance.model import plain
from appliance.model.chat import prompt_ids, render
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.statistics import mean, share

QUESTIONS, ROOM = 6, 24  # of the task and as many off it; tokens of an answer
RIGHT = 0.99  # of a weight's values; sums in another order round a few the other way
OFF = 1e-3  # share of a weight's change by which a factor's product may be off, in fp32
NEAR_TIE = 1.0  # nats by which another token may be likelier than the end of turn
STOPS = 0.8  # share of the answers that ended, which must end in each form too


@dataclass(frozen=True)
class Tolerance:
    """kl: nats per token, at most; agreement: share of tokens with the same likeliest, at least."""

    kl: float
    agreement: float


# 16 bit: what rounding the weights once to bf16 changes. The quantized kinds: about four times
# what the embedded model shows, whose weights bear it worse than larger models' (docs/export.md).
TOLERANCES = {
    "merged": Tolerance(0.005, 0.97),
    "adapter": Tolerance(0.0005, 0.99),
    "gguf:bf16": Tolerance(0.01, 0.96),
    "gguf:f16": Tolerance(0.01, 0.96),
    "gguf:q8_0": Tolerance(0.02, 0.95),
    "gguf:q5_k_m": Tolerance(0.4, 0.75),
    "gguf:q4_k_m": Tolerance(0.4, 0.75),
}


# In bfloat16 each form rounds differently on its way through the layers.
ROUNDED = Tolerance(0.01, 0.95)  # the embedded model's: 0.0013 and 98.6 %
NEEDED = {"float32": 2.5, "bfloat16": 1.25}  # bytes of memory for each byte of the 16-bit base


@dataclass(frozen=True)
class Check:
    """One claim, and whether it holds; None: it could not be measured."""

    form: str
    name: str
    holds: bool | None
    text: str
    facts: Mapping[str, Any]


class Questions:
    """The questions, and what the adapter on the base answers; `kind`: of the arithmetic."""

    def __init__(
        self, run: RunDir, recipe: Recipe, base: Path, strength: float, kind: str, folder: Path
    ) -> None:
        self.tokenizer, self.kind = tokenizer_of(base), kind
        self.file, self.folder = folder / "questions.json", folder
        self.ends = _ends(base, self.tokenizer)
        asked = [
            {"text": render(self.tokenizer, messages, ask=True), "ends": self.ends,
             "ids": prompt_ids(self.tokenizer, messages)}
            for messages in _prompts(run, recipe, self.tokenizer)
        ]  # fmt: skip
        self.file.write_text(json.dumps(asked), encoding="utf-8")
        said = ["answer", kind, str(base), str(run.adapter), repr(strength), str(ROOM)]
        self.reference = self._asked(*said)
        self.asked = json.loads(self.file.read_text(encoding="utf-8"))

    def scored(self, model: Path, adapter: Path | None = None) -> list[Any]:
        """[tokens, vocabulary] log-probabilities for each question, by plain transformers."""
        return self._asked("score", self.kind, str(model), str(adapter or "-"))

    def _asked(self, *words: str) -> list[Any]:
        answers = self.folder / "answers.npz"
        plainly(*words, str(self.file), str(answers))
        return _logprobs(answers)

    def asked_of_gguf(self, path: Path) -> tuple[Any, dict[str, Any]]:
        answers = self.folder / "answers.npz"
        said = json.loads(llamacpp("ask", str(path), str(self.file), str(answers)))
        return _logprobs(answers), said


def plainly(*words: str) -> str:
    """A verb of `export/ask.py`."""
    return told(
        ["-m", "appliance.export.ask", *words],
        "Plain transformers and PEFT cannot load what was exported",
        "See whether its files are whole, and export it anew.",
    )


def tokenizer_of(base: Path) -> Any:
    """The base's, with the template that it was trained with."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    tokenizer.chat_template = tokenizer.chat_template or plain.TEMPLATE
    return tokenizer


def prove(
    run: RunDir, recipe: Recipe, base: Path, strength: float, forms: Mapping[str, Path]
) -> list[Check]:
    """Every claim about every form. Raises ModelError when a form cannot even be asked."""
    checks: list[Check] = []
    if LORA in forms:
        checks += _of_lora(run, base, strength, forms)
    if "merged" in forms:
        checks += [weights("merged", run, base, strength, forms["merged"])]
        checks += [files("merged", base, forms["merged"])]
    kind, needed = _arithmetic(base)
    if kind is None:
        text = f"what it says is not measured: that needs {needed / memory.GIB:.0f} GiB of memory"
        return checks + [Check(form, "same", None, text, {}) for form in forms]
    spoken = {form: path for form, path in forms.items() if form != LORA}
    if not spoken:
        return checks
    with tempfile.TemporaryDirectory() as made, console.progress("proof", 1 + len(spoken)) as bar:
        questions = Questions(run, recipe, base, strength, kind, Path(made))
        bar.advance()
        for form, path in spoken.items():
            if form.startswith("gguf:"):
                checks += _of_gguf(form, path, questions)
            elif form == "adapter":
                checks.append(_same(form, questions, questions.scored(base, path)))
            else:
                found = questions.scored(path)
                checks += [_same(form, questions, found), _stops(form, questions, found)]
            bar.advance()
    return checks


def _arithmetic(base: Path) -> tuple[str | None, float]:
    """(what the free memory lets the models compute in, or None; bytes that the least needs)."""
    size, free = sum(p.stat().st_size for p in base.glob("*.safetensors")), memory.free()
    for kind, times in NEEDED.items():
        if free is None or size * times + memory.GIB <= free:
            return kind, size * times
    return None, size * NEEDED["bfloat16"] + memory.GIB


def weights(form: str, run: RunDir, base: Path, strength: float, merged: Path) -> Check:
    """Weight by weight against what the adapter makes of it, PEFT's own merge, rounded once."""
    words = [str(base), str(run.adapter), repr(strength), str(merged)]
    found: dict[str, list[float]] = json.loads(plainly("compare", *words))
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


def _same(form: str, questions: Questions, found: Sequence[Any]) -> Check:
    """KL(adapter || form) per token, and the share of tokens at which both say the same."""
    import numpy as np

    kl, agree = [], []
    for reference, mine in zip(questions.reference, found, strict=True):
        kl += (np.exp(reference) * (reference - mine)).sum(-1).tolist()
        agree += (reference.argmax(-1) == mine.argmax(-1)).tolist()
    most = TOLERANCES[form]
    if questions.kind != "float32":
        most = Tolerance(most.kl + ROUNDED.kl, min(most.agreement, ROUNDED.agreement))
    facts: dict[str, Any] = {"kl": mean(kl), "agreement": share(agree), "tolerance": vars(most)}
    facts["arithmetic"] = questions.kind
    holds = facts["kl"]["value"] <= most.kl and facts["agreement"]["value"] >= most.agreement
    text = (
        f"{facts['kl']['value']:.4f} nats per token from the adapter (at most {most.kl:g}), the "
        f"same token at {facts['agreement']['value']:.1%} of {len(kl)} (at least "
        f"{most.agreement:.0%})"
    )
    return Check(form, "same", bool(holds), text, facts)


def _stops(form: str, questions: Questions, found: Sequence[Any]) -> Check:
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


def _of_lora(run: RunDir, base: Path, strength: float, forms: Mapping[str, Path]) -> list[Check]:
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


def _of_gguf(form: str, path: Path, questions: Questions) -> list[Check]:
    found, said = questions.asked_of_gguf(path)
    asked = questions.asked
    other = [q["text"] for q, tokens in zip(asked, said["tokens"], strict=True)
             if tokens != q["ids"]]  # fmt: skip
    ends = {t for q in asked for t in q["answer"] if t in questions.ends}
    template = said["template"] == questions.tokenizer.chat_template
    checks = [
        _same(form, questions, found),
        _stops(form, questions, found),
        Check(form, "tokens", not other,
              f"llama.cpp reads {len(asked) - len(other)} of {len(asked)} prompts as the tokenizer "
              "does", {"other": other[:3]}),
        Check(form, "ends", ends <= set(said["ends"]),
              "llama.cpp takes the ends of turn for ends", {"ends": sorted(ends)}),
        Check(form, "template", template, "the chat template in the file is the tokenizer's"
              if template else "the chat template in the file is not the tokenizer's", {}),
    ]  # fmt: skip
    return checks


def _prompts(run: RunDir, recipe: Recipe, tokenizer: Any) -> list[list[dict[str, str]]]:
    """A seeded sample of held-out prompts of the task, and of off-task ones.

    Of those that leave room for an answer in llama.cpp's context here; general ones where there
    are none.
    """
    read = read_rows if recipe.method == "sft" else read_pairs
    task = [[dict(m) for m in row.prompt] for row in read(run.test_rows)]
    said = read_jsonl(run.base_answers) if run.base_answers.is_file() else []
    off = [[{"role": "user", "content": item["prompt"]}] for item in said]
    draw = random.Random(0)
    drawn = [m for some in (task, off) for m in draw.sample(some, min(QUESTIONS, len(some)))]
    short = [m for m in drawn if len(prompt_ids(tokenizer, m)) <= CONTEXT - ROOM]
    general = [[dict(m) for m in messages] for messages in TRIED]
    return short or [m for m in general if m[0]["role"] == "user"]


def _ends(base: Path, tokenizer: Any) -> list[int]:
    """Every token id that ends an answer, as `generate` takes them."""
    path = base / "generation_config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ends = found.get("eos_token_id")
    listed = list(ends) if isinstance(ends, list) else [ends]
    return sorted({int(e) for e in [*listed, tokenizer.eos_token_id] if e is not None})


def _logprobs(path: Path) -> list[Any]:
    import numpy as np
    from scipy.special import log_softmax

    with np.load(path) as kept:
        return [log_softmax(kept[name], axis=-1) for name in kept.files]
