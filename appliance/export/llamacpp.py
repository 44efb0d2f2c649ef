"""The one door to llama.cpp: quantizing a GGUF file, and asking one, by its prebuilt library.

    python -m appliance.export.llamacpp quantize SOURCE TARGET KIND
    python -m appliance.export.llamacpp ask FILE QUESTIONS.json ANSWERS.npz
    python -m appliance.export.llamacpp lora FILE LORA

`cyllama` brings llama.cpp compiled into one extension, for the C library of 2014 on; nothing is
compiled or downloaded here. Logits are read, and not a sampled text: a proof needs all of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import ModelError

CONTEXT = 1024  # tokens that a question and its answer may have here
# llama.h, enum llama_ftype.
KINDS = {"q8_0": 7, "q4_k_m": 15, "q5_k_m": 17}


def library() -> Any:
    """llama.cpp's functions. Raises ModelError where there is none."""
    try:
        import cyllama.llama.llama_cpp as found
    except ImportError as error:
        raise ModelError(
            "llama.cpp is not installed (its prebuilt library is for x86-64 Linux alone).",
            "Export `merged`, and make GGUF files of it where llama.cpp is.",
        ) from error
    return found


def quantize(source: str, target: str, kind: str) -> None:
    llama = library()
    how = llama.LlamaModelQuantizeParams()
    how.ftype, how.nthread = KINDS[kind], threads()
    llama.model_quantize(source, target, how)


def threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


class Gguf:
    """A GGUF file, loaded on the CPU."""

    def __init__(self, path: str, room: int = CONTEXT) -> None:
        """`room`: tokens that a dialogue may have. Raises ModelError when it cannot be loaded."""
        self.llama = llama = library()

        class Model(llama.LlamaModel):  # type: ignore[name-defined]
            n_vocab = 0  # its logits' width, which cyllama 0.2 looks for here and does not set

        how = llama.LlamaModelParams()
        how.n_gpu_layers = 0
        context = llama.LlamaContextParams()
        context.n_ctx = context.n_batch = context.n_ubatch = room
        context.n_threads = context.n_threads_batch = threads()
        try:
            self.model = Model(path, how, verbose=False)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"llama.cpp cannot load {path}.", "Name a whole GGUF file of a model it knows."
            ) from error
        self.vocabulary = self.model.get_vocab()
        Model.n_vocab = self.vocabulary.n_vocab
        self.context = llama.LlamaContext(self.model, context, verbose=False)

    def tokens(self, text: str) -> list[int]:
        """Special tokens that stand in the text are read as such, and none is added."""
        return list(self.vocabulary.tokenize(text, False, True))

    @property
    def template(self) -> str:
        """The chat template in the file; empty where there is none."""
        return str(self.model.get_default_chat_template())

    @property
    def marks(self) -> dict[str, str]:
        """The special tokens that a chat template may name."""
        named = {"bos_token": self.vocabulary.token_bos(), "eos_token": self.vocabulary.token_eos()}
        return {n: self.vocabulary.get_text(t) if t >= 0 else "" for n, t in named.items()}

    def ends(self, token: int) -> bool:
        """Does this token end a turn?"""
        return bool(self.vocabulary.is_eog(token))

    def logits(self, ids: Sequence[int], places: Sequence[int]) -> Any:
        """What it says after the tokens at `places` of `ids`: numpy [places, vocabulary], fp32."""
        self.context.kv_cache_clear()
        return self._read(ids, 0, places)

    def _read(self, ids: Sequence[int], begun: int, places: Sequence[int]) -> Any:
        """`logits` of tokens that stand behind `begun` others that were read before."""
        import numpy as np

        wanted = set(places)
        batch = self.llama.LlamaBatch(n_tokens=len(ids), embd=0, n_seq_max=1, verbose=False)
        for place, token in enumerate(ids):
            batch.add(token, begun + place, [0], place in wanted)
        self.context.decode(batch)
        found = [self.context.get_logits_ith(place) for place in places]
        return np.asarray(found, dtype=np.float32)

    def answer(self, text: str, room: int) -> tuple[str, int, bool]:
        """Greedy, at most `room` tokens: (the answer, its tokens, was it cut?)."""
        ids = self.tokens(text)
        self.context.kv_cache_clear()
        said: list[int] = []
        token = int(self._read(ids, 0, [len(ids) - 1])[0].argmax())
        while not self.ends(token):
            said.append(token)
            if len(said) >= room:
                break
            token = int(self._read([token], len(ids) + len(said) - 1, [0])[0].argmax())
        return str(self.vocabulary.detokenize(said)), len(said), not self.ends(token)


def ask(path: str, questions: str, answers: str) -> None:
    """`questions`: JSON of {text, ids, answer}; `answers`: for each the logits at its answer.

    Prints JSON: the tokens of each text, the template, and the ends of turn among the answers.
    """
    import numpy as np

    asked = json.loads(Path(questions).read_text(encoding="utf-8"))
    model = Gguf(path)
    logits = []
    for question in asked:
        ids = [*question["ids"], *question["answer"][:-1]]
        first = len(question["ids"]) - 1
        logits.append(model.logits(ids, range(first, len(ids))))
    np.savez(answers, *logits)
    said = {t for question in asked for t in question["answer"]}
    json.dump(
        {
            "tokens": [model.tokens(question["text"]) for question in asked],
            "template": model.template,
            "ends": sorted(t for t in said if model.ends(t)),
        },
        sys.stdout,
    )


def lora(path: str, adapter: str) -> None:
    """Load an adapter over the model: names and shapes must fit."""
    Gguf(path).model.lora_adapter_init(adapter)


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]] = {"quantize": quantize, "ask": ask, "lora": lora}
    verbs[sys.argv[1]](*sys.argv[2:])
