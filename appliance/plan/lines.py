"""The plan for people: what is needed, does it fit, how long, how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.console import span
from appliance.memory import GIB

if TYPE_CHECKING:
    from appliance.plan import Plan

_NAMES = {
    "weights": "weights of the linear layers",
    "embedding": "embedding, output layer, norms (16 bit)",
    "adapter": "adapter (32 bit)",
    "gradients": "its gradients",
    "optimizer": "AdamW's moments",
    "activations": "activations",
    "logits": "logits and loss",
    "CUDA": "CUDA's own",
    "process": "Python and its libraries",
    "correction": "more, or less, as measured here",
}


def lines(plan: Plan) -> list[str]:
    warned = [f"warning: {text}" for text in plan.recipe.warnings()]
    return [*plan.said, *_what(plan), *warned, *_memory(plan), *_time(plan), *_money(plan)]


def brief(plan: Plan) -> list[str]:
    """In a line or two, for the start of a run."""
    said = [f"forecast: {_need(plan)}"]
    if plan.seconds is not None and plan.total_seconds is not None:
        money = f", about ${plan.cost:.2f}" if plan.cost else ""
        said[0] += (
            f"; about {span(plan.total_seconds)}, of it {span(plan.seconds['train'])} training"
            f"{money}"
        )
    return [*said, *_short(plan)]


def _what(plan: Plan) -> list[str]:
    recipe, rows = plan.recipe, plan.rows
    adapter = recipe.adapter
    trained = "all weights" if adapter.kind == "none" else f"{adapter.kind} r={adapter.r}"
    how = "" if rows.exact else " (guessed from their bytes: no tokenizer here)"
    return [
        f"{recipe.method} of {plan.model} ({_count(plan.shape.weights)} weights) in "
        f"{recipe.model.bits} bit, {trained} ({_count(plan.trained)} trained), learning rate "
        f"{recipe.train.learning_rate:g}",
        f"{rows.train} rows to train on, {rows.tokens:.0f} tokens each, the longest "
        f"{rows.longest}{how}",
        f"{recipe.steps(rows.train)} steps of {recipe.train.batch_size} rows, "
        f"{plan.setting.rows} at once",
    ]


def _memory(plan: Plan) -> list[str]:
    card = plan.machine.card
    name = f"{card.name}, {card.memory:.4g} GiB" if card else _cpu(plan)
    out = [f"memory of a training step on {name}:"]
    out += [f"  {_size(size):>9}  {_NAMES[part]}" for part, size in plan.memory.items()]
    out.append(f"  {_size(plan.needed):>9}  in all; {_fits(plan)}")
    if plan.there is not None:
        most = plan.largest_rows
        longest = f"rows of {plan.rows.longest} tokens"
        out.append(
            f"  the most that fits: {most} {longest} at once, or one row of "
            f"{plan.longest_row:,} tokens"
            if most
            else f"  not one of the {longest} fits"
        )
    return [*out, *_short(plan)]


def _cpu(plan: Plan) -> str:
    return f"{plan.machine.cores} CPU cores"


def _need(plan: Plan) -> str:
    where = f" of {plan.there / GIB:.1f}" if plan.there is not None else ""
    return f"{plan.needed / GIB:.1f}{where} GiB of memory"


def _fits(plan: Plan) -> str:
    if plan.there is None:
        return "how much there is is not known"
    free = f"{plan.there / GIB:.1f} GiB are there"
    return free if plan.fits else f"{free}: it does not fit"


def _short(plan: Plan) -> list[str]:
    if plan.fits:
        return []
    do = f"Set train.micro_batch={plan.largest_rows}."
    if not plan.largest_rows:
        bits = ", model.bits=4" if plan.recipe.model.bits == 16 else ""
        shorter = max(16, plan.longest_row or 0)
        do = f"Lower model.max_length to {shorter} or less, take a smaller model{bits} or a larger "
        do += "card." if plan.machine.card else "machine."
    return [f"warning: it does not fit in {_size(plan.there or 0)}. {do}"]


def _time(plan: Plan) -> list[str]:
    if plan.seconds is None or plan.total_seconds is None:
        return ["time: not known for this card; `appliance plan --calibrate` measures it here"]
    out = [f"time, {_basis(plan)}:"]
    for stage, spent in plan.seconds.items():
        if spent >= 0.5:
            maybe = "  at most, only where the gate fails" if stage == "dial" else ""
            out.append(f"  {span(spent):>9}  {stage}{maybe}")
    return [*out, f"  {span(plan.total_seconds):>9}  in all"]


def _basis(plan: Plan) -> str:
    if plan.measured:
        return f"by three real steps, measured here on {plan.measured.date}"
    if plan.machine.card:
        return "reckoned from the card's data sheet, not measured: it may be off by half"
    return "reckoned from the cores, not measured: `--calibrate` takes three real steps"


def _money(plan: Plan) -> list[str]:
    if plan.cost is None or plan.price is None:
        card = plan.machine.card
        return [f"money: no price is known for {card.name}; --price says one"] if card else []
    price = plan.price
    return [f"money: ${plan.cost:.2f} at ${price.per_hour:.2f} an hour ({price.listed})"]


def _size(size: float) -> str:
    return f"{size / GIB:.2f} GiB" if abs(size) >= GIB / 10 else f"{size / 2**20:.0f} MiB"


def _count(weights: int) -> str:
    return f"{weights / 1e9:.2f}B" if weights >= 1e9 else f"{weights / 1e6:.1f}M"
