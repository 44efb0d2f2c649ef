"""The runs of an ablation, one after another, each up to its verdict.

All arms of a seed share the rows, and those with the same base its measurement: the files of the
first run of that seed are copied. What is done is skipped, so the same command goes on.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import manifest, pipeline
from appliance.ablate import page, recommend, results
from appliance.ablate.folder import Folder, Plan
from appliance.console import console, span
from appliance.disk import write_json
from appliance.errors import ApplianceError, NoSpace
from appliance.recipe import Recipe
from appliance.run import RunDir, differences

LAST = "gate"  # the stage after which an arm is measured; none is exported
# What decides the rows, and what the base is measured by.
ROWS = ("method", "data", "audit", "evaluate")
BASE = (*ROWS, "model", "dpo")


@dataclass(frozen=True)
class Job:
    """One arm with one seed."""

    run: RunDir
    recipe: Recipe

    @property
    def name(self) -> str:
        return self.run.root.name

    @property
    def rows(self) -> Any:
        """Jobs that are equal in this have the same rows, and the same audit of them."""
        model = self.recipe.model.model_dump(exclude={"bits"})
        return self.recipe.train.seed, model, self.recipe.model_dump(include=set(ROWS))

    @property
    def base(self) -> Any:
        """Jobs that are equal in this measure the same base on the same rows."""
        return self.recipe.train.seed, self.recipe.model_dump(include=set(BASE))

    def takes(self, earlier: Sequence[Job]) -> list[str]:
        """The stages whose files come from an earlier job."""
        return [
            stage
            for stage, (_, alike, _) in SHARED.items()
            if any(alike(job) == alike(self) for job in earlier)
        ]


DONE = {stage.name: stage.done for stage in pipeline.STAGES}
SHARED: dict[str, tuple[Callable[[RunDir], Path], Callable[[Job], Any], Callable[..., None]]] = {
    "data": (DONE["data"], lambda job: job.rows, RunDir.take_data),
    "baseline": (DONE["baseline"], lambda job: job.base, RunDir.take_baseline),
}


def jobs(folder: Folder, plan: Plan) -> list[Job]:
    """Seed by seed, so that all arms can be compared early."""
    return [
        Job(folder.run(arm.name, seed), plan.recipe(arm, seed))
        for seed in plan.seeds
        for arm in plan.arms
    ]


def work(folder: Folder, plan: Plan) -> dict[str, Any]:
    """Do what is not done yet, and write results, recommendation and page.

    An arm that fails is told and recorded, and the others go on; but where the first of all has no
    rows, its error is raised.
    """
    todo = jobs(folder, plan)
    for number, job in enumerate(todo):
        title = f"[{number + 1}/{len(todo)}] {job.name}"
        if results.finished(job.run):
            console.say(f"{title}: done before")
            continue
        with _told_aside(job.run):
            error = attempt(job, todo[:number])
        rest = left(todo, number + 1)
        console.say(f"{title}{' FAILED: ' + error if error else figures(job.run)}{rest}")
    found = results.gather(folder, plan)
    found["recommended"], found["why"] = recommend.recommend(found["arms"])
    write_json(folder.results, found)
    recommend.write(folder, plan, found)
    page.write(folder, found)
    return found


def attempt(job: Job, earlier: Sequence[Job]) -> str | None:
    """One run. The sentence of its error, or None. Raises where nobody has had rows yet."""
    run = job.run
    try:
        with run.lock():
            run.create(job.recipe)
            share(job, earlier)
            console.say(", ".join(differences(Recipe(), job.recipe)))
            pipeline.ready(run, job.recipe)
            pipeline.go(run, job.recipe, pipeline.Order(LAST))
        return None
    except NoSpace:
        raise
    except Exception as error:
        if not any(j.run.data_facts.is_file() for j in (*earlier, job)):
            raise
        known = isinstance(error, ApplianceError)
        text = str(error) if known else f"{type(error).__name__}: {str(error).strip()[:300]}"
        console.trace()
        run.event("error", text)
    # Only here, out of the handler, has the traceback let go of the model.
    _release()
    return text


def share(job: Job, earlier: Sequence[Job]) -> None:
    """Copy the rows and the base's measurement that an earlier job has."""
    for stage in job.takes(earlier):
        done, alike, take = SHARED[stage]
        other = next((j for j in earlier if alike(j) == alike(job) and done(j.run).is_file()), None)
        if other is None or done(job.run).is_file():
            continue
        if stage == "baseline":
            manifest.write(job.run, job.recipe)
        seconds = results.stage_seconds(other.run).get(stage, 0.0)
        job.run.event("stage", stage, seconds=seconds, taken_from=other.name)
        take(job.run, other.run)


def left(todo: Sequence[Job], number: int) -> str:
    """`; about 12m left for 3 runs`, from what the stages of the finished runs took."""
    runs = [results.stage_seconds(job.run, own=True) for job in todo[:number]]
    means = {}
    for stage in DONE:
        took = [seconds[stage] for seconds in runs if stage in seconds]
        means[stage] = sum(took) / len(took) if took else 0.0
    rest = [n for n in range(number, len(todo)) if not results.finished(todo[n].run)]
    seconds = sum(
        means[stage] for n in rest for stage in DONE if stage not in todo[n].takes(todo[:n])
    )
    many = f"{len(rest)} run{'' if len(rest) == 1 else 's'}"
    return f"; about {span(seconds)} left for {many}" if rest else ""


def figures(run: RunDir) -> str:
    """What a finished run came to, in a line."""
    m = results.measured(run)
    took = span(sum(results.stage_seconds(run, own=True).values()))

    def mean(items: results.Items) -> float | None:
        return sum(items.values()) / len(items) if items else None

    gain, kept, drift = mean(m.gain), mean(m.retention), mean(m.drift)
    parts = [f"gain {gain:+.0%}" if gain is not None else "gain not measured"]
    parts += [f"retention {kept:.0%}"] if kept is not None else []
    parts += [f"drift {drift:.3f}"] if drift is not None else []
    return f" in {took}: {', '.join(parts)}"


def _told_aside(run: RunDir) -> AbstractContextManager[None]:
    """What a run says goes to its own log, unless --verbose."""
    return nullcontext() if os.environ.get("APPLIANCE_VERBOSE") else console.aside(run.told)


def _release() -> None:
    """Give back the memory of a run that failed."""
    import gc

    gc.collect()
    if "unsloth" in sys.modules:  # a model was loaded
        from appliance.model import backend

        if backend.on_gpu():
            backend.torch().cuda.empty_cache()


def clean(folder: Folder, plan: Plan) -> None:
    """Bad input leaves no half of a new ablation behind: away with it where no rows were had."""
    if not any(job.run.data_facts.is_file() for job in jobs(folder, plan)):
        shutil.rmtree(folder.root, ignore_errors=True)
