"""What is asked for the proof, and what is answered: by plain transformers, and by llama.cpp."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from functools import cached_property
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

Job = list[str]  # a verb of `export/ask.py` and its words
QUESTIONS, ROOM = 6, 24  # of the task and as many off it; tokens of an answer


class Questions:
    """The questions, for jobs of `export/ask.py` to answer and to score.

    kind: what is computed in. `reference` [tokens, vocabulary] for each question, log-probabilities
    of the adapter on the base at its own greedy answers, and what else was scored there, are
    there once the jobs are done.
    """

    def __init__(self, run: RunDir, recipe: Recipe, base: Path, kind: str, folder: Path) -> None:
        self.run, self.base, self.kind, self.folder = run, base, kind, folder
        self.tokenizer = tokenizer_of(base)
        self.file = folder / "questions.json"
        self.ends = _ends(base, self.tokenizer)
        asked = [
            {"text": render(self.tokenizer, messages, ask=True), "ends": self.ends,
             "ids": prompt_ids(self.tokenizer, messages)}
            for messages in _prompts(run, recipe, self.tokenizer)
        ]  # fmt: skip
        self.file.write_text(json.dumps(asked), encoding="utf-8")

    def answering(self, strength: float) -> Job:
        """By the adapter on the base, not merged."""
        return ["answer", self.kind, str(self.base), str(self.run.adapter), repr(strength),
                str(ROOM), str(self.file), self._answers("reference")]  # fmt: skip

    def scoring(self, form: str, model: Path, adapter: Path | None = None) -> Job:
        return ["score", self.kind, str(model), str(adapter or "-"), str(self.file),
                self._answers(form)]  # fmt: skip

    def _answers(self, form: str) -> str:
        return str(self.folder / f"{form}.npz")

    @property
    def asked(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.file.read_text(encoding="utf-8"))
        return found

    def found(self, form: str) -> list[Any]:
        """[tokens, vocabulary] log-probabilities for each question."""
        return _logprobs(Path(self._answers(form)))

    @cached_property
    def reference(self) -> list[Any]:
        return self.found("reference")

    def asked_of_gguf(self, path: Path) -> tuple[Any, dict[str, Any]]:
        answers = self._answers("gguf")
        said = json.loads(llamacpp("ask", str(path), str(self.file), answers))
        return _logprobs(Path(answers)), said


def plainly(jobs: Sequence[Job]) -> list[Any]:
    """What jobs of `export/ask.py` found: one process for all, since its imports take seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.json"
        path.write_text(json.dumps(jobs), encoding="utf-8")
        said = told(
            ["-m", "appliance.export.ask", str(path)],
            "Plain transformers and PEFT cannot load what was exported",
            "See whether its files are whole, and export it anew.",
        )
    found: list[Any] = json.loads(said.splitlines()[-1])
    return found


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
