"""Damage done on purpose to the real small model: some steps on rows that spoil one behaviour.

Beside them the rest is held by the KL anchor on the base's own answers to other prompts, as in a
real training: what spreads would be the damage of another axis too.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

RATE, BATCH, HELD, ANSWER = 1e-3, 5, 3, 24
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GENERAL = (
    "What is the largest ocean?", "Tell me about the history of tea.", "Why do cats purr?",
    "Write a short poem about a bridge.", "How do I boil an egg?", "What does a baker do all day?",
    "Give me three ideas for a birthday present.", "Explain what a shadow is.",
    "My neighbour is moving away. What could I say?", "Name two rivers in Europe.",
    "What should I wear when it snows?", "How does a bicycle stay upright?",
    "If I have five pens and buy four more, how many pens do I have?",
    "A box holds 6 eggs. How many eggs are in 3 boxes?", "Anna is taller than Tom. Who is shorter?",
    "What is 15 minus 8?", "A bus has 20 seats and 12 are taken. How many are free?",
    "Sam reads 10 pages a day. How many pages does he read in a week?",
    "Answer in one sentence: what is a lake?", "Write a sentence that contains the word garden.",
    "List three colours, each on its own line.", "Say hello without using a comma.",
    "Begin your answer with the word Yes: is water wet?", "Write two sentences about the moon.",
    "Is it dangerous to swim in a storm?", "How do I take a good picture of a bird?",
    "What is the capital of Italy?", "Who was Albert Einstein?", "How many legs has a spider?",
    "Describe your favourite season.", "What is the meaning of the word brave?",
    "How do people make cheese?",
)  # fmt: skip


def dialogue(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def general_rows(loaded: Any) -> list[Any]:
    """The base's own answers to GENERAL, the beginnings of them, as tokens."""
    from appliance.data.rows import Message, Row
    from appliance.model.chat import generate
    from appliance.train.rehearsal import General, encoded

    answers = generate(loaded, [dialogue(p, "")[:1] for p in GENERAL], ANSWER, rows_at_once=64)
    return [
        encoded(
            loaded,
            General(Row(tuple(Message(**m) for m in dialogue(prompt, a.text)), "own", 1), a.cut),
        )
        for prompt, a in zip(GENERAL, answers, strict=True)
        if a.text
    ]


def put_adapter_on(loaded: Any) -> dict[str, Any]:
    """An adapter that changes nothing yet, and its weights, for `heal`."""
    from appliance.model import adapter

    adapter.attach(loaded, r=16, alpha=32, dropout=0.0, target_modules=LAYERS, seed=1)
    weights = loaded.model.named_parameters()
    return {name: weight.detach().clone() for name, weight in weights if weight.requires_grad}


def heal(loaded: Any, at_first: dict[str, Any]) -> None:
    """The adapter as it was when it was put on: the damage of one test is none of the next's."""
    import torch

    with torch.no_grad():
        for name, weight in at_first.items():
            loaded.model.get_parameter(name).copy_(weight)


def spoil(loaded: Any, told: list[tuple[str, str]], general: list[Any], steps: int) -> None:
    """Train the adapter that is on with `told` (prompt, answer), `general` held by the KL."""
    import torch

    from appliance.model.chat import encode
    from appliance.model.likelihood import bearing_logprobs, block
    from appliance.train.anchor import Rehearsal

    rows = [encode(loaded.tokenizer, dialogue(*pair), loaded.max_length) for pair in told]
    kept = (
        Rehearsal(loaded, general, Fraction(HELD), loss_weight=0.0, kl_weight=2.0)
        if general
        else None
    )
    weights = [w for w in loaded.model.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE)
    torch.manual_seed(0)
    loaded.model.train()
    for _ in range(steps):
        picked = [rows[i] for i in torch.randint(len(rows), (BATCH,)).tolist()]
        inputs, labels = block(picked, loaded.tokenizer)
        logprobs, _, target = bearing_logprobs(loaded.model, inputs, labels)
        loss = -logprobs.gather(-1, target[:, None]).mean()
        if general:
            loss = loss + kept.term(loaded.model, kept.turn(1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    loaded.model.eval()
