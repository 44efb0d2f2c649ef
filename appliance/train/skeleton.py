"""The one training skeleton. SFT and DPO differ in `rows` and `trainer` alone."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.console import Bar, console
from appliance.disk import need, write_json
from appliance.model import adapter, backend
from appliance.model.load import Loaded, open_model, release
from appliance.recipe import Recipe
from appliance.run import RunDir
from appliance.train import dpo, processes, rehearsal, sft
from appliance.train.anchor import Rehearsal, rehearsing
from appliance.train.batch import accumulation, batches, micro_batch, must_fit, smaller
from appliance.train.checkpoint import Checkpoints, step_of
from appliance.train.ewc import Ewc
from appliance.train.fitting import Fitting, fitting
from appliance.train.forecast import Forecast
from appliance.train.measures import Drift, TaskLoss, heard_by, peak_memory, sample
from appliance.train.resume import When, resumable
from appliance.train.stopping import Asked, asked_to_stop
from appliance.train.tracking import report_to
from appliance.train.watch import Measures, Watch

BYTES = 16  # in a checkpoint of each trained weight, in fp32: it, AdamW's two moments, the best
Facts = dict[str, Any]
METHODS = {"sft": sft, "dpo": dpo}
DECAY = 0.3  # of the steps, in which the rate of warmup_stable_decay goes down


def train(run: RunDir, recipe: Recipe) -> None:
    """data/*.jsonl -> adapter/, train/metrics.jsonl, train/train.json.

    Goes on from the newest checkpoint of a training that was stopped. Raises Stop and
    KeyboardInterrupt where a signal asked for the end: after the step, with a checkpoint.
    """
    loaded, checkpointing = _open(recipe)
    items, valid, facts = METHODS[recipe.method].rows(run, loaded)
    _say_rows(facts)
    longest = max(item["length"] for item in items)
    rehearsed = rehearsal_term(run, recipe, loaded, facts)
    config, batch = loaded.model.config, recipe.train.batch_size
    general = rehearsed.tokens_per_step() if rehearsed else 0.0
    fits = fitting(recipe, config, longest, general / batch)
    micro = micro_batch(recipe, longest, fits)
    if not checkpointing:
        beside = rehearsed.most_tokens(accumulation(recipe, micro)) if rehearsed else 0
        must_fit(config, micro, longest, beside)
    if rehearsed:
        rehearsed.ask_base()
    steps = recipe.steps(len(items))
    arguments = training_arguments(recipe, run, loaded, checkpointing, len(items))
    work = Work(
        run,
        recipe,
        loaded,
        items,
        arguments,
        _measures(run, recipe, loaded, sample(valid, recipe, steps * batch)),
        rehearsed,
        ewc_term(run, recipe, loaded),
        _checkpoints(run, recipe, loaded),
        fits,
    )
    begun = processes.of_first(work.checkpoints.newest)
    started = time.monotonic()
    with console.progress("train", steps) as bar, asked_to_stop(bar.say) as asked:
        trainer, watch = work.through(micro, begun, bar, asked)
    if not watch.over(trainer.state):
        raise asked.end()
    outcome = _outcome(trainer.state, recipe, facts, time.monotonic() - started, begun)
    if run.writes:
        _write(work, facts | outcome | watch.facts())
    _finish_wandb(arguments["report_to"])
    release(loaded)
    if asked():
        raise asked.end()


def _write(work: Work, facts: Facts) -> None:
    """adapter/ and train.json; then no checkpoint is needed any more."""
    run, trained = work.run, adapter.trainable(work.loaded)
    adapter.save(work.loaded, run.adapter)
    write_json(
        run.train_facts,
        facts
        | {
            "processes": processes.count(),
            "weights_trained": trained[0],
            "weights": trained[1],
            "rehearsed": work.rehearsed.facts() if work.rehearsed else None,
            "ewc": work.consolidation.facts() if work.consolidation else None,
            "peak_memory_gib": peak_memory(),
        },
    )
    shutil.rmtree(run.trainer, ignore_errors=True)


@dataclass(frozen=True)
class Work:
    """Everything that a trainer is made of, but for the rows at once and where it begins."""

    run: RunDir
    recipe: Recipe
    loaded: Loaded
    items: list[dict[str, Any]]
    arguments: dict[str, Any]
    measures: Measures
    rehearsed: Rehearsal | None
    consolidation: Ewc | None
    checkpoints: Checkpoints
    fits: Fitting | None

    def through(self, micro: int, begun: Path | None, bar: Bar, asked: Asked) -> tuple[Any, Watch]:
        """Train to the end, or to where it is asked to stop: the trainer, and what watched it.

        Where memory runs out, on with half the rows at once from the last step that was whole.
        """
        while True:
            watch = Watch(self.run, self.recipe, self.measures, bar)
            trainer = self._trainer(micro, begun, watch, asked)
            try:
                trainer.train(resume_from_checkpoint=str(begun) if begun else None)
                self._keep(micro)
                return trainer, watch
            except backend.torch().OutOfMemoryError as error:
                micro, step = smaller(self.recipe, micro, error), trainer.state.global_step
                bar.say(f"  out of memory: from here on {micro} rows at once")
                self._keep(micro)
                self.run.event("memory", "out of memory", step=step, micro=micro)
            # Out of the handler, which holds what the step had taken.
            begun = after_last_step(trainer, self.checkpoints)

    def _keep(self, micro: int) -> None:
        """What the card holds, for the next training like this one."""
        if self.fits:
            self.fits.keep(micro)

    def _trainer(self, micro: int, begun: Path | None, watch: Watch, asked: Asked) -> Any:
        """TRL's trainer, with all that is ours laid over it, as after the checkpoint `begun`."""

        def ours(kind: type) -> type:
            kind = rehearsing(heard_by(kind, self.measures.task_loss), self.rehearsed)
            section = self.recipe.train
            return resumable(kind, self.checkpoints, watch.save, section.seed, section.batch_size)

        trainer = METHODS[self.recipe.method].trainer(
            self.loaded, self.items, self.recipe, self.arguments | batches(self.recipe, micro), ours
        )
        adapter.keep_precise(self.loaded)
        when = When(self.recipe.train.checkpoint_minutes, asked)
        forecast = Forecast(self.run, watch.bar.say)
        for callback in filter(None, [watch, self.consolidation, when, forecast]):
            trainer.add_callback(callback)
        if begun:
            watch.load(begun)
        if self.rehearsed:
            self.rehearsed.go_on(step_of(begun) if begun else 0)
        return trainer


def _measures(run: RunDir, recipe: Recipe, loaded: Loaded, valid: list[Any]) -> Measures:
    """What is measured while training, on these held-out rows."""
    held_out = METHODS[recipe.method].held_out(loaded, valid, recipe)
    return Measures(held_out, Drift(run, recipe, loaded), TaskLoss(), len(valid))


def _outcome(state: Any, recipe: Recipe, facts: Facts, seconds: float, begun: Path | None) -> Facts:
    """Steps and pace of a training that came to its end; `begun`: the checkpoint it began with."""
    steps = state.global_step
    here = steps - (step_of(begun) if begun else 0)
    seen = facts["tokens"] * min(state.epoch, recipe.train.epochs) * here / steps
    return {
        "steps": steps,
        "steps_after_a_stop": here if begun else None,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(seen / seconds, 1),
    }


def _checkpoints(run: RunDir, recipe: Recipe, loaded: Loaded) -> Checkpoints:
    """Where they are. Raises NoSpace where there is no room for them."""
    trained, _ = adapter.trainable(loaded)
    # A new one is whole before an old one goes; beside them stands the adapter.
    size = trained * BYTES * (recipe.train.checkpoints + 1) + trained * 4
    need(run.trainer, size, "The checkpoints of this training", "nothing is lost.")
    return Checkpoints(run.trainer, recipe.train.checkpoints)


def _open(recipe: Recipe) -> tuple[Loaded, bool]:
    """The base with a fresh adapter on, and whether activations are computed again."""
    checkpointing = recipe.train.gradient_checkpointing
    checkpointing = backend.on_gpu() if checkpointing is None else checkpointing
    loaded = open_model(recipe.model, checkpointing, whole=recipe.adapter.kind == "none")
    adapter.attach(
        loaded,
        kind=recipe.adapter.kind,
        rank_stabilized=recipe.adapter.rank_stabilized,
        r=recipe.adapter.r,
        alpha=recipe.adapter.alpha,
        dropout=recipe.adapter.dropout,
        target_modules=recipe.adapter.target_modules,
        seed=recipe.train.seed,
        gradient_checkpointing=checkpointing,
    )
    return loaded, checkpointing


def rehearsal_term(run: RunDir, recipe: Recipe, loaded: Loaded, facts: Facts) -> Rehearsal | None:
    """What is rehearsed beside the task (`rehearsal`, `anchor` of the recipe); None: nothing.

    `facts` of the task's rows: the share of rows and of tokens is said before training.
    """
    per_step = rehearsal.rows_per_step(recipe)
    if not recipe.rehearses or not per_step or not (recipe.rehearsal.loss or recipe.anchor.kl):
        return None
    task_rows = recipe.steps(facts["rows"]) * recipe.train.batch_size
    rows, sources = rehearsal.rows(run, recipe, loaded, task_rows)
    tokens = sum(source["tokens"] for source in sources.values())
    whole = facts["tokens"] / facts["rows"] * task_rows + tokens
    facts["rehearsal_sources"] = sources
    console.say(
        f"  general rows beside the task's: {len(rows) / (task_rows + len(rows)):.0%} of the rows, "
        f"{tokens / whole:.0%} of the tokens"
    )
    for name, source in sources.items():
        console.say(
            f"    {name}: {source['used']} of {source['rows']} rows used"
            + (f", {source['repeated']} taken again" if source["repeated"] else "")
        )
    return Rehearsal(
        loaded,
        rows,
        per_step,
        loss_weight=recipe.rehearsal.loss,
        kl_weight=recipe.anchor.kl,
    )


def ewc_term(run: RunDir, recipe: Recipe, loaded: Loaded) -> Ewc | None:
    """Elastic weight consolidation on some of the general rows (`ewc`); None: strength 0."""
    section = recipe.ewc
    if not section.strength:
        return None
    rows = rehearsal.some(run, recipe, loaded, section.dialogues)
    with console.progress("ewc", len(rows)) as bar:
        return Ewc.estimate(
            loaded, rows, strength=section.strength, seed=recipe.train.seed, done=bar.advance
        )


def _say_rows(facts: dict[str, Any]) -> None:
    console.say(
        f"  {facts['rows']} rows, {facts['tokens']} tokens, "
        f"{facts['share_bearing_loss']:.0%} of them carry loss (marked ⟦so⟧):"
    )
    for line in facts["example"].splitlines():
        console.say(f"    {line[:160]}")
    if facts["rows_cut"]:
        console.say(
            f"  {facts['rows_cut']} rows are longer than model.max_length and were cut; "
            f"{facts['rows_without_answer_after_cut']} lost their whole answer and are left out."
        )


def after_last_step(trainer: Any, checkpoints: Checkpoints) -> Path | None:
    """A checkpoint of the last step that was whole; None before the first."""
    trainer.model.zero_grad(set_to_none=True)
    if backend.on_gpu():
        backend.torch().cuda.empty_cache()
    if not trainer.state.global_step:
        return None
    trainer._save_checkpoint(trainer.model, None)
    return checkpoints.newest()


def training_arguments(
    recipe: Recipe, run: RunDir, loaded: Loaded, checkpointing: bool, rows: int
) -> dict[str, Any]:
    """Where the recipe's `train` section takes effect: the arguments SFT and DPO share.

    All but the rows at once: `batches`.
    """
    gpu = backend.on_gpu()
    section = recipe.train
    bf16 = backend.bf16()
    return {
        "output_dir": str(run.trainer),
        "num_train_epochs": section.epochs,
        "max_steps": section.max_steps or -1,
        "learning_rate": section.learning_rate,
        "lr_scheduler_type": section.schedule,
        "lr_scheduler_kwargs": {"num_decay_steps": round(recipe.steps(rows) * DECAY)}
        if section.schedule == "warmup_stable_decay"
        else None,
        "warmup_steps": round(recipe.steps(rows) * section.warmup_share),
        "weight_decay": section.weight_decay,
        "max_grad_norm": section.max_grad_norm,
        "optim": "adamw_8bit" if gpu else "adamw_torch_fused",
        "bf16": bf16,
        "fp16": gpu and not bf16,
        "gradient_checkpointing": checkpointing,
        "seed": section.seed,
        "data_seed": section.seed,
        # Rows of like length together: padding to the longest wastes more than anything else. Where
        # nothing is padded, any order is as fast, and a random one learns more in its first steps.
        "train_sampling_strategy": "random" if loaded.packs else "group_by_length",
        "length_column_name": "length",
        "remove_unused_columns": False,
        "logging_steps": 1,
        # A loss that is not finite is shown as it is, not as the mean of those before.
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": report_to(recipe, run),
        "run_name": run.root.name,
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "use_cpu": not gpu,
        # Every trained weight has a part in every pass, as Unsloth documents it.
        "ddp_find_unused_parameters": False,
    }


def _finish_wandb(report: list[str]) -> None:
    if "wandb" in report:
        import wandb

        wandb.finish()
