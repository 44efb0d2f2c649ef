"""What is asked for the proof, and what is answered: by plain transformers, and by llama.cpp."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from appliance.data.rows import read_pairs, read_rows
from appliance.disk import read_jsonl
from appliance.export.gguf import llamacpp
from appliance.export.llamacpp import CONTEXT
from appliance.export.modelfile import TRIED
from appliance.export.process import told
from appliance.model import plain
from appliance.model.chat import prompt_ids, render
from appliance.recipe import Recipe
from appliance.run import RunDir

QUESTIONS, ROOM = 6, 24  # of the task and as many off it; tokens of an answer


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
