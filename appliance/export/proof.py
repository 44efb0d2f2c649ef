"""Is what ships what was trained? -> export/proof.json.

The same questions go to the adapter on the 16-bit base (PEFT, not merged), to the merged model
(plain transformers) and to each GGUF file (llama.cpp), each in a process of its own. The adapter
answers them greedily; each form is then asked what it says at every token of those answers, and KL
and agreement are of that. On the CPU and in fp32, so that what differs is the weights; in bfloat16
where the memory holds no more, and where it holds not even that, what could not be asked is said.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from appliance import memory
from appliance.console import console
from appliance.export.claims import (
    Check,
    comparing,
    files,
    of_gguf,
    of_lora,
    same,
    stops,
    weights,
)
from appliance.export.gguf import LORA, PREFIX
from appliance.export.questions import Questions, plainly
from appliance.recipe import Recipe
from appliance.run import RunDir

MERGED, ADAPTER = "merged", "adapter"
NEEDED = {"float32": 2.5, "bfloat16": 1.25}  # bytes of memory for each byte of the 16-bit base


def prove(
    run: RunDir, recipe: Recipe, base: Path, strength: float, forms: Mapping[str, Path]
) -> list[Check]:
    """Every claim about every form. Raises ModelError when a form cannot even be asked."""
    kind, needed = _arithmetic(base)
    spoken = {form: path for form, path in forms.items() if form != LORA}
    with tempfile.TemporaryDirectory() as made, console.progress("proof", 2 + len(forms)) as bar:
        jobs = [comparing(run, base, strength, forms[MERGED])] if MERGED in forms else []
        questions = None
        if kind and spoken:
            questions = Questions(run, recipe, base, kind, Path(made))
            jobs.append(questions.answering(strength))
            jobs += [questions.scoring(ADAPTER, base, forms[ADAPTER])] if ADAPTER in forms else []
            jobs += [questions.scoring(MERGED, forms[MERGED])] if MERGED in forms else []
        bar.advance()
        found = plainly(jobs) if jobs else []
        bar.advance()
        checks: list[Check] = []
        for form, path in forms.items():
            if form == MERGED:
                checks += [weights(form, found[0]), files(form, base, path)]
            if form == LORA:
                checks += of_lora(run, base, strength, forms)
            elif questions is None:
                text = f"what it says is not measured: it needs {needed / memory.GIB:.0f} GiB"
                checks.append(Check(form, "same", None, f"{text} of memory", {}))
            else:
                checks += _spoken(form, path, questions)
            bar.advance()
    return checks


def _spoken(form: str, path: Path, questions: Questions) -> list[Check]:
    """What it says, against what the adapter says."""
    if form.startswith(PREFIX):
        return of_gguf(form, path, questions)
    found = questions.found(form)
    checks = [same(form, questions, found)]
    return checks if form == ADAPTER else [*checks, stops(form, questions, found)]


def _arithmetic(base: Path) -> tuple[str | None, float]:
    """(what the free memory lets the models compute in, or None; bytes that the least needs)."""
    size, free = sum(p.stat().st_size for p in base.glob("*.safetensors")), memory.free()
    for kind, times in NEEDED.items():
        if free is None or size * times + memory.GIB <= free:
            return kind, size * times
    return None, size * NEEDED["bfloat16"] + memory.GIB
