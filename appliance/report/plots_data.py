"""The plots of the data: how long the rows are, and what a training was mixed of."""

from __future__ import annotations

from typing import Any

from appliance.report import shapes
from appliance.report.plots import clip, drawn
from appliance.report.read import Reading
from appliance.report.shapes_audit import Lengths
from appliance.report.svg import BLUE, COLOURS, INK, PINK, Chart, chart


def data(reading: Reading) -> list[Chart]:
    return drawn(reading, (lengths, mixture))


def lengths(reading: Reading) -> Chart | None:
    """How long the training rows are, and where they are cut."""
    if reading.audit is None:
        return None
    spread = reading.audit.lengths
    found = spread.tokens if spread.tokens and spread.tokens.histogram else spread.words.prompt
    bins = found.histogram
    if not bins:
        return None
    unit = found.unit or "words"

    def draw(figure: Any, axes: Any) -> None:
        width = max(1, bins[0].high - bins[0].low + 1)
        over = [found.limit is not None and b.high > found.limit for b in bins]
        axes.bar([b.low for b in bins], [b.rows for b in bins], width=0.9 * width, align="edge",
                 color=[PINK if cut else BLUE for cut in over])  # fmt: skip
        if found.limit is not None and found.limit <= bins[-1].low + width:
            axes.axvline(found.limit, color=INK, linestyle=":")
        axes.set_xlabel(f"{unit} of a row (the last bar: that many or more)")
        axes.set_ylabel("rows")

    said = f"Half of the rows have up to {found.median or 0:.0f} {unit}, 95 in 100 up to "
    said += f"{found.p95 or 0:.0f}, the longest {found.most or 0:.0f}. "
    said += _cut(reading, found)
    return chart("lengths", "How long are the rows, and what is cut?", said, draw)


def _cut(reading: Reading, found: Lengths) -> str:
    if found.limit is None:
        return "How many tokens they are was not counted."
    if reading.training:
        cut, gone = reading.training.rows_cut, reading.training.rows_without_answer_after_cut
        if not cut:
            return f"None is longer than {found.limit} tokens, so none is cut."
        return (
            f"{cut} are longer than {found.limit} tokens and were cut there; {gone} of them lost "
            "their whole answer and were left out."
        )
    over = (found.most or 0) > found.limit
    return f"Rows are cut at {found.limit} tokens" + ("." if over else ": none is so long.")


def mixture(reading: Reading) -> Chart | None:
    """What a step was made of, in rows and in tokens, as it came out."""
    parts = mixed(reading)
    if not parts:
        return None
    rows, tokens = sum(r for _, r, _ in parts), sum(t for _, _, t in parts)

    def draw(figure: Any, axes: Any) -> None:
        left = [0.0, 0.0]
        for number, (name, some, more) in enumerate(parts):
            wide = [100 * some / rows, 100 * more / max(tokens, 1)]
            axes.barh([0, 1], wide, left=left, color=COLOURS[number % len(COLOURS)],
                      label=clip(name), height=0.6)  # fmt: skip
            left = [a + b for a, b in zip(left, wide, strict=True)]
        axes.set_yticks([0, 1], ["rows", "tokens"])
        axes.set_ylim(1.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("%")
        figure.legend(loc="outside upper center", ncols=2)

    told = [f"{name}: {r / rows:.0%} of the rows, {t / max(tokens, 1):.0%} of the tokens"
            for name, r, t in parts]  # fmt: skip
    said = f"Of {rows:,.0f} rows that were trained on, {'; '.join(told)}."
    return chart("mixture", "What was it trained on?", said, draw, size=(5.6, 2.2))


def mixed(reading: Reading) -> list[tuple[str, float, float]]:
    """(name, rows, tokens) of the task and of each general source, as often as they were seen."""
    found, recipe = reading.training, reading.recipe
    if found is None or recipe is None or found.rows <= 0 or found.steps <= 0:
        return []
    seen = found.steps * recipe.train.batch_size
    parts = [("the task's rows", float(seen), found.tokens / found.rows * seen)]
    general = found.rehearsed or shapes.Rehearsed()
    taken = sum(s.taken for s in found.rehearsal_sources.values()) or 1
    tokens = sum(s.tokens for s in found.rehearsal_sources.values()) or 1
    parts += [
        ("the base's own dialogues" if name == "self" else name.rsplit("/", 1)[-1],
         general.rows * source.taken / taken, general.tokens * source.tokens / tokens)
        for name, source in found.rehearsal_sources.items()
    ]  # fmt: skip
    return [(name, rows, tokens) for name, rows, tokens in parts if rows > 0]
