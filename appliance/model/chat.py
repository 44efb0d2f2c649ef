"""The model's own chat template, in training, evaluation and chat alike.

A row is tokenized in pieces: the prompt exactly as it is asked at inference, then the answer with
its end of turn. So the tokens a model is trained on are the tokens it will be asked with, and the
tokens that carry loss are known without searching for marks in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import ModelError
from appliance.model import backend
from appliance.model.at_once import ask_all, batches
from appliance.model.decode import Sampling, decode, picker
from appliance.model.load import Loaded
from appliance.model.plain import cut_at_turn

_WORDS = re.compile(r"\w+")
IGNORE = -100  # torch's cross entropy skips it
Messages = Sequence[Any]  # of {"role", "content"}


@dataclass(frozen=True)
class Encoded:
    """One row as tokens. `labels[i]` is `input_ids[i]` where it carries loss, else IGNORE."""

    input_ids: list[int]
    labels: list[int]
    cut: bool

    @property
    def bearing(self) -> int:
        return sum(label != IGNORE for label in self.labels)


def render(tokenizer: Any, messages: Messages, *, ask: bool) -> str:
    """The template's text; `ask` adds the opening of the assistant's turn."""
    try:
        return str(
            tokenizer.apply_chat_template(
                [dict(m) for m in messages], tokenize=False, add_generation_prompt=ask
            )
        )
    except Exception as error:  # a template is a program of the model's author: anything can come
        roles = " ".join(m["role"] for m in messages)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"The model's chat template refuses a dialogue of the turns {roles} ({reason}).",
            "Change the rows' roles, for example drop the system turn, or choose another model.",
        ) from error


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    return list(tokenizer.encode(render(tokenizer, messages, ask=True), add_special_tokens=False))


def open_user_turn(tokenizer: Any) -> str:
    """The template's text up to where the user begins to speak."""
    mark = "\u241fhere\u241f"
    whole = render(tokenizer, [{"role": "user", "content": mark}], ask=False)
    before, found, _ = whole.partition(mark)
    if not found:
        raise ModelError(
            "The model's chat template changes the user's words.", "Give rehearsal.sources instead."
        )
    return before


def encode(
    tokenizer: Any, messages: Messages, max_length: int, *, last_only: bool = False
) -> Encoded:
    """Tokens and labels of a dialogue; loss on the assistant's turns and their end of turn.

    A template that rewrites earlier turns (some drop old thoughts) carries loss on the last
    answer alone.
    """
    ids: list[int] = []
    labels: list[int] = []
    text = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or (last_only and index < len(messages) - 1):
            continue
        asked = render(tokenizer, messages[:index], ask=True)
        told = render(tokenizer, messages[: index + 1], ask=False)
        if not asked.startswith(text) or not told.startswith(asked):
            if last_only:
                raise ModelError(
                    "The model's chat template does not keep the prompt when the answer is added.",
                    "Choose another model; this one's template cannot be trained on answers.",
                )
            return encode(tokenizer, messages, max_length, last_only=True)
        before = tokenizer.encode(asked[len(text) :], add_special_tokens=False)
        answer, tail = _split_tail(tokenizer, told[len(asked) :])
        after = tokenizer.encode(answer, add_special_tokens=False)
        ids += before + after
        labels += [IGNORE] * len(before) + after
        text = told[: len(told) - len(tail)]
    return Encoded(ids[:max_length], labels[:max_length], len(ids) > max_length)


def _split_tail(tokenizer: Any, answer: str) -> tuple[str, str]:
    """The answer up to its end of turn, and what the template adds behind it (often a newline)."""
    kept = answer.rstrip()
    if kept.endswith(tuple(t for t in (tokenizer.eos_token,) if t)):
        return kept, answer[len(kept) :]
    return answer, ""


def mark(tokenizer: Any, row: Encoded) -> str:
    """The row's text with the parts that carry loss between ⟦ and ⟧."""
    parts: list[str] = []
    start = 0
    for index in range(1, len(row.labels) + 1):
        if index == len(row.labels) or (row.labels[index] == IGNORE) != (
            row.labels[start] == IGNORE
        ):
            text = tokenizer.decode(row.input_ids[start:index])
            parts.append(text if row.labels[start] == IGNORE else f"⟦{text}⟧")
            start = index
    return "".join(parts)


@dataclass(frozen=True)
class Answer:
    """What the model said. `cut`: it ran into the limit before its end of turn."""

    text: str
    tokens: int
    cut: bool


def ends_of_turn(loaded: Loaded) -> list[int]:
    """Every token id that ends an answer."""
    found = loaded.model.generation_config.eos_token_id
    ends = list(found) if isinstance(found, (list, tuple)) else [found]
    ends.append(loaded.tokenizer.eos_token_id)
    return sorted({int(e) for e in ends if e is not None})


def generate(
    loaded: Loaded,
    prompts: Sequence[Messages],
    max_new_tokens: int,
    *,
    done: Callable[[int], None] = lambda n: None,
    sampling: Sampling | None = None,
    rows_at_once: int = 32,
) -> list[Answer]:
    """Answers to dialogues, in their order."""
    ids = [prompt_ids(loaded.tokenizer, messages) for messages in prompts]
    return complete(
        loaded, ids, max_new_tokens, done=done, sampling=sampling, rows_at_once=rows_at_once
    )


def complete(
    loaded: Loaded,
    ids: Sequence[list[int]],
    max_new_tokens: int,
    *,
    done: Callable[[int], None] = lambda n: None,
    sampling: Sampling | None = None,
    rows_at_once: int = 32,
) -> list[Answer]:
    """What follows each list of tokens. Batched by like length, padded on the left."""
    ends = ends_of_turn(loaded)
    pad = loaded.tokenizer.pad_token_id
    if pad is None:
        pad = ends[0]
    if sampling:
        backend.torch().manual_seed(sampling.seed)
    backend.fast_model().for_inference(loaded.model)
    answers: list[Answer | None] = [None] * len(ids)
    pick = picker(sampling)

    def ask(group: list[int]) -> None:
        asked = [ids[i] for i in group]
        if backend.on_gpu():
            told = _generated(loaded.model, asked, max_new_tokens, ends, pad, sampling)
        else:
            told = decode(loaded.model, asked, max_new_tokens, ends, pad, pick)
        for tokens, index in zip(told, group, strict=True):
            answers[index] = _read(loaded, tokens, ends)
        done(len(group))

    ask_all(batches([len(i) for i in ids], 32_768, rows_at_once), ask)
    return [a for a in answers if a is not None]


def _generated(
    model: Any,
    ids: Sequence[list[int]],
    room: int,
    ends: Sequence[int],
    pad: int,
    sampling: Sampling | None,
) -> list[list[int]]:
    """As `decode`, by the model's own `generate`."""
    torch = backend.torch()
    how: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if sampling:
        how = {"do_sample": True, "temperature": sampling.temperature, "top_p": 1.0,
               "top_k": sampling.top_k}  # fmt: skip
    width = max(map(len, ids))
    block = torch.tensor([[pad] * (width - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    with torch.inference_mode():
        out = model.generate(
            input_ids=block.to(backend.device()),
            attention_mask=mask.to(backend.device()),
            max_new_tokens=room,
            pad_token_id=pad,
            eos_token_id=list(ends),
            use_cache=True,
            **how,
        )
    told: list[list[int]] = out[:, width:].tolist()
    return told


def loops(text: str) -> bool:
    """Does it say the same four words over and over?"""
    words = _WORDS.findall(text.lower())
    fours = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(fours) >= 8 and len(set(fours)) < 0.6 * len(fours)


def _read(loaded: Loaded, tokens: list[int], ends: list[int]) -> Answer:
    stop = next((i for i, token in enumerate(tokens) if token in ends), None)
    kept = tokens if stop is None else tokens[:stop]
    text = loaded.tokenizer.decode(kept, skip_special_tokens=True)
    text, goes_on = cut_at_turn(text, loaded.turns)
    return Answer(text.strip(), len(kept), stop is None and not goes_on)
