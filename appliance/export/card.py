"""The model card of an export: export/README.md, with the front matter that the hub expects.

Made only from the files of the run, like the report. It goes where the model goes, so it holds
counts and hashes of the data and never a row, and names of files and never their folders.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from appliance.disk import read_json, write_text
from appliance.limits import spent
from appliance.model import embedded
from appliance.recipe import Recipe, load
from appliance.report.summary import figure, summary
from appliance.run import RunDir, differences

PATHS = ("data.", "model.name", "rehearsal.sources", "evaluate.real_world")  # or they hold some


def write(run: RunDir, recipe: Recipe, base: Path, facts: dict[str, Any]) -> None:
    """Render the card; `facts` are those of export.json, `base` is the folder of the base."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = summary(run)
    proof = read_json(run.proof) if run.proof.is_file() else {"checks": []}
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    card = templates.get_template("card.md.j2").render(
        front_matter=_front_matter(run, recipe, base, facts, found).to_yaml(),
        name=run.root.resolve().name,
        base=_base_name(recipe),
        recipe=recipe,
        changed=_changed(recipe),
        facts=facts,
        proof=proof["checks"],
        manifest=read_json(run.manifest),
        data=_data(run),
        before=found["before"],
        after=found["after"],
        training=found["training"],
        verdict=found["verdict"],
        dial=found["dial"],
        alarms=found["alarms"],
        cost=_cost(run),
        axes=[axis for axis in found["after"]["axes"] if axis in found["before"]["axes"]],
        figure=figure,
    )
    write_text(run.card, card)


def _cost(run: RunDir) -> str:
    """What the run took until its export, in money; "" where no price is known."""
    price = read_json(run.manifest).get("price")
    if not price:
        return ""
    hours = spent(run) / 3600
    return (
        f"{price['per_hour'] * hours:.2f} {price['currency']} for {hours:.2f} h "
        f"at {price['per_hour']:g} an hour ({price['source']})"
    )


def _front_matter(
    run: RunDir, recipe: Recipe, base: Path, facts: dict[str, Any], found: dict[str, Any]
) -> Any:
    """Tags, licence, base and the task's score, as `ModelCardData` writes them."""
    from huggingface_hub import EvalResult, ModelCardData

    task = found["after"]["task"]
    results = None
    if task["value"] is not None:
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type="private",
                dataset_name="held-out rows of the task",
                dataset_split="test",
                metric_type=task["metric"],
                metric_value=round(task["value"], 4),
            )
        ]
    merged = "merged" in facts["forms"]
    return ModelCardData(
        base_model=_base_name(recipe),
        base_model_relation="finetune" if merged else "adapter",
        license=_licence(base),
        library_name="transformers" if merged else "peft",
        pipeline_tag="text-generation",
        model_name=run.root.resolve().name,
        tags=[recipe.method, recipe.adapter.kind, "appliance"],
        eval_results=results,
    )


def _base_name(recipe: Recipe) -> str:
    """A hub id, or the name of the folder."""
    name = recipe.model.name
    if name == "embedded":
        return f"HuggingFaceTB/{embedded.NAME}"
    return PurePath(name).name if Path(name).expanduser().is_dir() else name


def _licence(base: Path) -> str | None:
    """What the base's own card says; the embedded model is Apache-2.0."""
    from huggingface_hub import RepoCard

    if base == embedded.folder():
        return "apache-2.0"
    path = base / "README.md"
    if not path.is_file():
        return "other" if list(base.glob("LICENSE*")) else None
    found = RepoCard.load(path, ignore_metadata_errors=True).data.to_dict().get("license")
    return str(found) if found else None


def _changed(recipe: Recipe) -> list[str]:
    """What differs from the defaults of its method."""
    found = []
    for line in differences(load(recipe.method), recipe):
        key, _, values = line.partition(": ")
        if key.startswith(PATHS):
            values = "set"
        found.append(f"{key}: {values}")
    return found


def _data(run: RunDir) -> dict[str, Any]:
    """Counts, and the files' names with their hashes."""
    facts = read_json(run.data_facts)
    files = [
        {"name": PurePath(file["path"]).name, "sha256": file["sha256"], "bytes": file["bytes"]}
        for file in read_json(run.manifest)["data"]
    ]
    sources = read_json(run.rehearsal_facts)["sources"] if run.rehearsal_facts.is_file() else {}
    general = [
        {"name": "the base's own dialogues" if name == "self" else PurePath(name).name,
         "rows": source["rows"]}
        for name, source in sources.items()
    ]  # fmt: skip
    return {"rows": facts["rows"], "files": files, "general": general}
