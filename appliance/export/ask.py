"""What a model says, asked by plain transformers and PEFT in a process of its own.

    python -m appliance.export.ask score MODEL ADAPTER|- QUESTIONS.json ANSWERS.npz
    python -m appliance.export.ask answer BASE ADAPTER STRENGTH ROOM QUESTIONS.json ANSWERS.npz
    python -m appliance.export.ask compare BASE ADAPTER STRENGTH MERGED

Whoever is served the merged model has neither this project nor Unsloth, so nothing of them is
loaded here. `answer` makes the answers, greedy, and writes them into the questions; `score` gives
the logits at each of their tokens. `compare` holds each weight of the merged model against PEFT's
own merge.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load(folder: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval()


def tuned(base: str, adapter: Path, strength: float) -> Any:
    """The base with the adapter laid over it, not merged."""
    model = load(base)
    if (adapter / "model.safetensors").is_file():
        return _blended(model, _weights(adapter), strength)
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    if strength == 1:
        return PeftModel.from_pretrained(model, str(adapter))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    laid = PeftModel.from_pretrained(model, str(adapter))
    if laid.peft_config["default"].use_dora:
        # Its change is not linear in its factors: PEFT's own merge, and so much of the way to it.
        merged = laid.merge_and_unload()
        after = {name: weight.detach().clone() for name, weight in merged.named_parameters()}
        for name, weight in merged.named_parameters():
            weight.data.copy_(before[name])
        return _blended(merged, after, strength)
    for module in laid.modules():
        if isinstance(module, LoraLayer):
            module.scaling = {name: scale * strength for name, scale in module.scaling.items()}
    return laid


def _weights(folder: Path) -> dict[str, Any]:
    """Of a full fine-tuning, all of them."""
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(folder / "model.safetensors")
    return found


def _blended(model: Any, tuned: dict[str, Any], strength: float) -> Any:
    """W + strength * (T - W) for each weight T."""
    weights = dict(model.named_parameters())
    for name, weight in tuned.items():
        if name in weights:
            weights[name].data.lerp_(weight.float(), strength)
    return model


def score(folder: str, adapter: str, questions: str, answers: str) -> None:
    model = load(folder) if adapter == "-" else tuned(folder, Path(adapter), 1)
    _say(model, Path(questions), answers)


def answer(base: str, adapter: str, strength: str, room: str, questions: str, answers: str) -> None:
    import torch

    model, path = tuned(base, Path(adapter), float(strength)), Path(questions)
    asked = json.loads(path.read_text(encoding="utf-8"))
    for question in asked:
        ids, ends = question["ids"], question["ends"]
        out = model.generate(
            input_ids=torch.tensor([ids]), max_new_tokens=int(room), do_sample=False,
            eos_token_id=ends, pad_token_id=ends[0], temperature=None, top_p=None, top_k=None,
        )  # fmt: skip
        question["answer"] = out[0, len(ids) :].tolist()
    path.write_text(json.dumps(asked), encoding="utf-8")
    _say(model, path, answers)


def _say(model: Any, questions: Path, answers: str) -> None:
    """The logits [tokens, vocabulary] at each question's answer."""
    import numpy as np
    import torch

    logits = []
    with torch.inference_mode():
        for question in json.loads(questions.read_text(encoding="utf-8")):
            ids = [*question["ids"], *question["answer"][:-1]]
            found = model(input_ids=torch.tensor([ids]), logits_to_keep=len(question["answer"]))
            logits.append(found.logits[0].float().numpy())
    np.savez(answers, *logits)


def compare(base: str, adapter: str, strength: str, merged: str) -> None:
    """Prints JSON: {weight: [share of its values that are right, of how many, share left]}.

    Right is the merged value T rounded to the type of the file. Values are counted that had to
    change or did. A change of less than half a step of that type is lost in rounding, since the
    base's own value is one of the type's: `left` is how much of T - W there is after it.
    """
    model: Any = tuned(base, Path(adapter), float(strength))
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    wanted = dict(model.named_parameters())
    after = _files(merged)
    found = {}
    for name, file in _files(base).items():
        if name not in wanted:
            continue
        weight, mine = file.get_tensor(name), after[name].get_tensor(name)
        change = wanted[name].detach() - weight.float()
        right = wanted[name].detach().to(weight.dtype)
        counted = (right != weight) | (mine != weight)
        size = float(change.square().sum())
        left = float(((right.float() - weight.float()) * change).sum()) / size if size else 1.0
        count = int(counted.sum())
        hits = int((mine == right)[counted].sum())
        found[name] = [hits / count if count else 1.0, count, left]
    json.dump(found, sys.stdout)


def _files(folder: str) -> dict[str, Any]:
    """{weight: the open file that holds it}."""
    from safetensors import safe_open

    files = [safe_open(path, framework="pt") for path in sorted(Path(folder).glob("*.safetensors"))]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]] = {"score": score, "answer": answer, "compare": compare}
    verbs[sys.argv[1]](*sys.argv[2:])
