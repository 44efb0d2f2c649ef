"""What models say, asked by plain transformers and PEFT in a process of its own.

    python -m appliance.export.ask JOBS.json

Jobs are lists of words, done in their order, and what they found is printed as a JSON list:

    score TYPE MODEL ADAPTER|- QUESTIONS.json ANSWERS.npz
    answer TYPE BASE ADAPTER STRENGTH ROOM QUESTIONS.json ANSWERS.npz
    compare BASE ADAPTER STRENGTH MERGED

Whoever is served the merged model has neither this project nor Unsloth, so nothing of them is
loaded here. `answer` makes the answers, greedy, and writes them into the questions; `score` gives
the logits at each of their tokens; both compute in TYPE, float32 or bfloat16. `compare` holds each
weight of the merged model against what PEFT's own merge of that layer makes of the base's.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FULL = "model.safetensors"  # what a full fine-tuning leaves in place of an adapter


def load(folder: str, kind: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, kind)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return model.eval()


def tuned(base: str, adapter: Path, strength: float, kind: str) -> Any:
    """The base with the adapter laid over it, not merged; but for DoRA, and full fine-tuning."""
    model = load(base, kind)
    if (adapter / FULL).is_file():
        return _each(model, whole(adapter, strength))
    from peft import PeftConfig, PeftModel

    if getattr(PeftConfig.from_pretrained(str(adapter)), "use_dora", False):
        # PEFT computes its whole weight anew for each token: once, by PEFT's own merge, in fp32.
        return _each(model, by_peft(base, adapter, strength))
    laid = PeftModel.from_pretrained(model, str(adapter))
    if strength != 1:
        for layer in layers(laid).values():
            layer.scaling = {name: scale * strength for name, scale in layer.scaling.items()}
    return laid


def _each(model: Any, wanted: Callable[[str, Any], Any]) -> Any:
    for name, weight in model.named_parameters():
        weight.data.copy_(wanted(name, weight.detach().float()))
    return model


def layers(laid: Any) -> dict[str, Any]:
    """{the base's weight: PEFT's layer over it}."""
    from peft.tuners.lora import LoraLayer

    modules = laid.base_model.model.named_modules()
    return {f"{name}.weight": layer for name, layer in modules if isinstance(layer, LoraLayer)}


def by_peft(base: str, adapter: Path, strength: float) -> Callable[[str, Any], Any]:
    """(weight's name, the base's in fp32) -> what PEFT's merge makes of it, in fp32.

    The base's own weights are never loaded: a layer gets its one when it is merged.
    """
    import torch
    from peft import PeftConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
        laid: Any = get_peft_model(empty, PeftConfig.from_pretrained(str(adapter)))
    linear = not laid.peft_config["default"].use_dora
    found = layers(laid)
    for layer in found.values():
        layer.get_base_layer().weight = _parameter(torch.empty(0))  # factors go where it is
        if linear:
            layer.scaling = {key: scale * strength for key, scale in layer.scaling.items()}
    factors = load_peft_weights(str(adapter), device="cpu")
    set_peft_model_state_dict(laid, factors, low_cpu_mem_usage=True)

    def merged(name: str, weight: Any) -> Any:
        if name not in found:
            return weight
        layer = found.pop(name)
        inner = layer.get_base_layer()
        inner.weight = _parameter(weight.clone())
        layer.merge()
        out, inner.weight = inner.weight.detach(), _parameter(torch.empty(0))
        return out if linear else weight.lerp(out, strength)

    return merged


def _parameter(tensor: Any) -> Any:
    import torch

    return torch.nn.Parameter(tensor, requires_grad=False)


def whole(tuned: Path, strength: float) -> Callable[[str, Any], Any]:
    """The same of a full fine-tuning: W + strength * (T - W)."""
    held = files(str(tuned))

    def blended(name: str, weight: Any) -> Any:
        if name not in held:
            return weight
        return weight.lerp(held[name].get_tensor(name).float(), strength)

    return blended


def score(kind: str, folder: str, adapter: str, questions: str, answers: str) -> None:
    model = load(folder, kind) if adapter == "-" else tuned(folder, Path(adapter), 1, kind)
    _say(model, Path(questions), answers)


def answer(
    kind: str, base: str, adapter: str, strength: str, room: str, questions: str, answers: str
) -> None:
    import torch

    model, path = tuned(base, Path(adapter), float(strength), kind), Path(questions)
    asked = json.loads(path.read_text(encoding="utf-8"))
    # All at once, padded on the left: what a token costs is to read the weights.
    width = max(len(question["ids"]) for question in asked)
    ends = asked[0]["ends"]
    out = model.generate(
        input_ids=torch.tensor([[ends[0]] * (width - len(q["ids"])) + q["ids"] for q in asked]),
        attention_mask=torch.tensor([[0] * (width - len(q["ids"])) + [1] * len(q["ids"])
                                     for q in asked]),
        max_new_tokens=int(room), do_sample=False, eos_token_id=ends, pad_token_id=ends[0],
        temperature=None, top_p=None, top_k=None,
    )  # fmt: skip
    for question, row in zip(asked, out[:, width:].tolist(), strict=True):
        last = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
        question["answer"] = row[: last + 1]
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


def compare(base: str, adapter: str, strength: str, merged: str) -> dict[str, list[float]]:
    """{weight: [share of its values that are right, of how many, share left]}.

    Right is the merged value T rounded to the type of the file. Values are counted that had to
    change or did. A change of less than half a step of that type is lost in rounding, since the
    base's own value is one of the type's: `left` is how much of T - W there is after it. Of the
    weights one is in memory at a time.
    """
    folder, dial = Path(adapter), float(strength)
    wanted = whole(folder, dial) if (folder / FULL).is_file() else by_peft(base, folder, dial)
    after = files(merged)
    found = {}
    for name, file in files(base).items():
        weight, mine = file.get_tensor(name), after[name].get_tensor(name)
        value = wanted(name, weight.float())
        change, right = value - weight.float(), value.to(weight.dtype)
        counted = (right != weight) | (mine != weight)
        size = float(change.square().sum())
        left = float(((right.float() - weight.float()) * change).sum()) / size if size else 1.0
        count = int(counted.sum())
        hits = int((mine == right)[counted].sum())
        found[name] = [hits / count if count else 1.0, count, left]
    return found


def files(folder: str) -> dict[str, Any]:
    """{weight: the open file that holds it}."""
    from safetensors import safe_open

    files = [safe_open(path, framework="pt") for path in sorted(Path(folder).glob("*.safetensors"))]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118


VERBS: dict[str, Callable[..., Any]] = {"score": score, "answer": answer, "compare": compare}


def main(jobs: str) -> None:
    found = []
    for verb, *words in json.loads(Path(jobs).read_text(encoding="utf-8")):
        found.append(VERBS[verb](*words))
        gc.collect()  # of the models one is in memory at a time
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
