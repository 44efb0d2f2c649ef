"""The verb that asks whether to train at all: advise."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.group import PLAIN, load, main, quiet, recipe_options, stages
from appliance.console import console
from appliance.errors import BadInput, DataError

if TYPE_CHECKING:
    from appliance.data.rows import Row
    from appliance.recipe import Recipe
    from appliance.run import RunDir


@main.command(context_settings=PLAIN)
@click.argument("data", required=False)
@recipe_options[0]
@recipe_options[1]
@click.option("--target", type=click.FloatRange(0, 1, min_open=True), metavar="SCORE",
              help="The score that is wanted, 0 to 1.")  # fmt: skip
@click.option("--rows", default=150, show_default=True, type=click.IntRange(8),
              help="Held-out rows that are asked, at most.")  # fmt: skip
@click.option("--shots", default=8, show_default=True, type=click.IntRange(1),
              help="Rows that are shown with each, at most.")  # fmt: skip
@click.option("--run", "folder", type=click.Path(path_type=Path), metavar="DIR",
              help="A run, or where one is begun; advice.json is written there.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the advice as JSON on stdout.")
def advise(
    data: str | None,
    overrides: tuple[str, ...],
    model: str | None,
    target: float | None,
    rows: int,
    shots: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Say whether prompts or retrieval do on DATA what fine-tuning would be for.

    Writes nothing without --run. Of a run that is trained, its tuned model is compared too.
    """
    from appliance.disk import write_json
    from appliance.run import RunDir

    run = RunDir(folder) if folder else None
    if run and run.recipe_file.is_file():
        if overrides or model or data:
            raise BadInput(
                f"{folder} is a run: its own rows and recipe are used.",
                "Leave DATA, --set and --model away, or name another --run.",
            )
        found = run.recipe()
    else:
        found = load("sft", overrides, model, data)
    train, test = _rows(found, run)
    advice = _work(found, run, train, test, rows, shots, target)
    if run:
        with run.lock():
            write_json(run.advice, advice)
        from appliance.report.page import renew

        renew(run)
    if as_json:
        console.result(json.dumps(advice, indent=2, ensure_ascii=False))
    else:
        console.result("\n".join(_lines(advice)))


def _rows(recipe: Recipe, run: RunDir | None) -> tuple[Sequence[Row], Sequence[Row]]:
    """(rows to learn from, held-out rows): of the run where there is one, else of the recipe."""
    from appliance.data.audit.source import preference
    from appliance.data.prepare import prepare
    from appliance.data.rows import Row, read_rows
    from appliance.evaluate.advise import PAIRS
    from appliance.model.load import resolve
    from appliance.pipeline import Order

    resolve(recipe.model)
    begun = run is not None and run.data_facts.is_file()
    if recipe.method != "sft" or (not begun and preference(recipe.data)):
        raise DataError(
            f"{recipe.data.train} is not measured: {PAIRS}.",
            "Train on it by `appliance train dpo`, or give rows with answers.",
        )
    if run:
        stages(run, recipe, Order("data"))
        return read_rows(run.train_rows), read_rows(run.test_rows)
    quiet(Path(os.devnull))
    made = prepare(
        recipe.data, preference=False, seed=recipe.train.seed, say=console.say,
        near=recipe.audit.near,
    )  # fmt: skip
    return [r for r in made.train if isinstance(r, Row)], [
        r for r in made.test if isinstance(r, Row)
    ]


def _work(
    recipe: Recipe,
    run: RunDir | None,
    train: Sequence[Row],
    test: Sequence[Row],
    rows: int,
    shots: int,
    target: float | None,
) -> dict[str, Any]:
    from appliance.disk import read_json
    from appliance.evaluate.advise import beside, cost, measure
    from appliance.evaluate.recommend import recommend
    from appliance.model.load import open_model

    scores, answers = measure(open_model(recipe.model), train, test, recipe, rows=rows, shots=shots)
    if run and run.scores_after.is_file():
        scores = beside(scores, read_json(run.scores_after)["task"])
    advice = recommend(scores, target, cost(recipe, len(train)))
    return {**scores, "target": target, "recommendation": advice, "answers": answers}


def _lines(advice: dict[str, Any]) -> list[str]:
    """The table and the advice, for a terminal."""
    from appliance.evaluate.recommend import WAYS
    from appliance.report.summary import figure

    out = [f"{advice['metric'].replace('_', ' ')} of {advice['model']}, {advice['bits']} bit:"]
    for name, found in advice["ways"].items():
        tokens = f"  {found['tokens']:4.0f} tokens a prompt" if "tokens" in found else ""
        tokens += f", {found['shown']:.3g} rows shown" if found.get("shown") else ""
        why = f": {found['why']}" if "why" in found else ""
        out.append(f"  {WAYS[name][1]:39} {figure(found) + why:22}{tokens}".rstrip())
    if "tuned" in advice:
        out.append(f"  {'the tuned model':39} {figure(advice['tuned'])}")
    made = advice["recommendation"]
    return [*out, "", made["text"], *(f"  - {reason}" for reason in made["reasons"])]
