"""report.html: one file, no network, made only from the files of the run directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.disk import read_json, read_jsonl, read_log, write_text
from appliance.report.summary import figure, summary
from appliance.run import RunDir

if TYPE_CHECKING:
    from jinja2 import Environment

EXAMPLES = 12
OFF_TASK = "format"  # the axis of the off-task prompts


def environment(*folders: Path) -> Environment:
    """Templates of `folders`, then of this one. All that they are given is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"figure": figure, "number": number}
    return made


FORMS = {
    "plain": "{:.3g}",
    "percent": "{:.0%}",
    "points": "{:+.0%}",
    "nats": "{:.3f}",
    "count": "{:,.0f}",
}


def number(value: float, form: str = "plain") -> str:
    """As a page shows it; `form`: one of FORMS."""
    return FORMS[form].format(value)


def write(run: RunDir) -> None:
    """Render the page. Text from data and models is escaped by the template engine."""
    page = environment().get_template("page.html.j2")
    write_text(run.report, page.render(**summary(run), **_details(run)))


def _details(run: RunDir) -> dict[str, Any]:
    return {
        "name": run.root.name,
        "recipe": run.recipe_file.read_text(encoding="utf-8"),
        "manifest": read_json(run.manifest) if run.manifest.is_file() else {},
        "audit": read_json(run.audit) if run.audit.is_file() else None,
        "examples": _examples(run),
        "losses": _losses(run),
    }


def _examples(run: RunDir) -> list[dict[str, Any]]:
    """Off-task prompts with both answers, leaks first: what a reader should look at."""
    if not (run.answers_before.is_file() and run.answers_after.is_file()):
        return []
    before, after = (
        {i["id"]: i for i in read_jsonl(path) if i.get("axis") == OFF_TASK}
        for path in (run.answers_before, run.answers_after)
    )
    worst = sorted(after.values(), key=lambda item: item["score"] or 0)
    return [
        {"prompt": i["prompt"], "before": before[i["id"]]["answer"], "after": i["answer"]}
        for i in worst[:EXAMPLES]
        if i["id"] in before
    ]


def _losses(run: RunDir) -> list[dict[str, Any]]:
    """About twenty lines of the training: step, loss, held-out loss."""
    if not run.metrics.is_file():
        return []
    rows = read_log(run.metrics)
    held = {r["step"]: r["held_out_loss"] for r in rows if "held_out_loss" in r}
    steps = [r for r in rows if "loss" in r]
    every = max(1, len(steps) // 20)
    return [
        {"step": r["step"], "loss": r["loss"], "held_out": held.get(r["step"])}
        for n, r in enumerate(steps, 1)
        if n % every == 0 or r["step"] in held or n == len(steps)
    ]
