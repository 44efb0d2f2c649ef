"""lm-evaluation-harness on a loaded model: its tasks, its loop and its statistics.

Ours are only how much is computed at once, the bar, and when the hub may be asked.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache, partial
from typing import Any

from appliance.console import console
from appliance.errors import DataError
from appliance.model import backend
from appliance.model.load import Loaded

ROWS = 32  # at once, at most
WRITTEN = 16  # the same where answers are written: keys and values of all their tokens are kept
LOGITS = 2**30  # bytes: they are kept for all places, 2 in the model's type and 4 in fp32 for each
RESAMPLES = 1000  # where a metric has no standard error by formula
SEED = 1234  # the harness's own, of the examples shown before a question
# Asked for by whoever started this. Opening a model sets the same switch, for itself alone, and
# that is later than this line: measuring imports it before it opens one.
OFFLINE = any(os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))

Items = Sequence[Mapping[str, Any]]


def run(
    loaded: Loaded, files: Mapping[str, Items], names: Sequence[str], limit: int | None
) -> dict[str, Any]:
    """The harness's results over items of files, by their names here, and over its own tasks.

    Raises DataError for a task that it does not know, or that cannot be had or run here.
    """
    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # no processes for a thousand resamples
    backend.unsloth()  # before transformers, which the harness imports
    from lm_eval.api import task as tasks
    from lm_eval.evaluator import evaluate
    from tqdm import tqdm

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tasks.tqdm = partial(tqdm, disable=True)  # the one bar of its loop that has no switch
    with redirect_stdout(sys.stderr):  # it prints; stdout is for results
        chosen = _tasks(files, names)
        # As before an answer is written, whatever was asked of the model until now.
        backend.fast_model().for_inference(loaded.model)
        try:
            found: dict[str, Any] = evaluate(
                lm=_wrapped(loaded), task_dict=chosen, limit=limit, bootstrap_iters=RESAMPLES
            )
        except ImportError as error:
            raise _refused(", ".join(names), error) from error
    return found


def _tasks(files: Mapping[str, Items], names: Sequence[str]) -> dict[str, Any]:
    """Tasks and groups, made ready as the harness's `simple_evaluate` does.

    That itself also lists the machine's software, which takes ten seconds, each time.
    """
    import random

    import numpy as np

    random.seed(0)  # some tasks draw their items
    np.random.seed(SEED)
    chosen: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    for name, items in files.items():
        chosen["tasks"][name] = _local(name, items)
    for name in names:
        found = _named(name)
        twice = sorted(set(found["tasks"]) & set(chosen["tasks"]))
        if twice:
            raise DataError(
                f"evaluate.benchmarks: {twice[0]} of {name} is asked twice.",
                "Leave one of them out, or rename the file.",
            )
        for kind, made in found.items():
            chosen[kind] |= made
    for task in chosen["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=SEED)
    return chosen


def _local(name: str, items: Items) -> Any:
    """A task over items in memory: nothing is cached or asked for."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    def rows(**_: Any) -> dict[str, Any]:
        return {"test": Dataset.from_list([dict(item) for item in items])}

    metrics = [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm")
    ]
    return ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": rows,
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_choice": "choices",
            "doc_to_target": "answer",
            "metric_list": metrics,
        }
    )


@cache
def _manager() -> Any:
    """The harness's index of its tasks: it reads 14,000 files, in a quarter of a minute."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _named(name: str) -> dict[str, Any]:
    """A task of the harness, or a group of them. Raises DataError."""
    known = _manager().all_tasks
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise DataError(
            f"evaluate.benchmarks: lm-evaluation-harness has no task {name}.",
            f"Did you mean {', '.join(near)}?" if near else "Name one of its tasks, or a file.",
        )
    try:
        with _hub():
            found: dict[str, Any] = _manager().load([name])
    except Exception as error:  # a task is a program of its author: anything can come
        raise _refused(name, error) from error
    return found


def _refused(name: str, error: Exception) -> DataError:
    """Why a task cannot be asked, in a sentence."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, ImportError):
        return DataError(
            f"The benchmark {name} needs a package that is not installed ({reason}).",
            "Install it beside the appliance, or choose another.",
        )
    if isinstance(error, (OSError, EOFError)):
        return DataError(
            f"The data of the benchmark {name} cannot be had from the hub ({reason}).",
            "Check the network and HF_HUB_OFFLINE, or name a JSONL file of multiple-choice items.",
        )
    return DataError(
        f"The benchmark {name} cannot be asked here ({reason}).", "Choose another, or name a file."
    )


@contextmanager
def _hub() -> Iterator[None]:
    """The hub may be asked in this block, unless whoever started this forbade it."""
    import datasets
    from huggingface_hub import constants

    places = [] if OFFLINE else [constants, datasets.config]
    before = [place.HF_HUB_OFFLINE for place in places]
    for place in places:
        place.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _wrapped(loaded: Loaded) -> Any:
    """The model as the harness takes it."""
    from lm_eval.models.huggingface import HFLM

    class Model(HFLM):
        """With the house's bar, and as many rows at once as their logits allow."""

        bar: Any
        whole: int = 1  # rows at once where their lengths are not known
        until: int = 0
        now: int = 1

        def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
            return self._told(super().loglikelihood, requests)

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> Any:
            self.whole = self._fit(self.max_length)
            return self._told(super().loglikelihood_rolling, requests)

        def generate_until(self, requests: Any, disable_tqdm: bool = True) -> Any:
            self.whole = WRITTEN
            return self._told(super().generate_until, requests)

        def _told(self, ask: Callable[..., Any], requests: Any) -> Any:
            with console.progress("benchmarks", len(requests)) as self.bar:
                found = ask(requests, disable_tqdm=True)
                self.bar.advance(len(requests))  # some were answered by one and the same row
            return found

        def _loglikelihood_tokens(
            self, requests: Any, disable_tqdm: bool = True, override_bs: int | None = None
        ) -> Any:
            return super()._loglikelihood_tokens(requests, True, override_bs)

        def _model_call(self, inps: Any, *args: Any, **kwargs: Any) -> Any:
            out = super()._model_call(inps, *args, **kwargs)
            self.bar.advance(len(inps))
            return out

        def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
            out = super()._model_generate(context, *args, **kwargs)
            self.bar.advance(len(context))
            return out

        def _batch_scheduler(self, pos: int, n_reordered_requests: Any) -> int:
            """Rows of the batch that `pos` is in. The longest come first, and lead their batch."""
            if pos == 0 or pos >= self.until:
                _, context, continuation = n_reordered_requests[pos]
                self.now = self._fit(len(context) + len(continuation))
                self.until = pos + self.now
            return self.now

        def _detect_batch_size(self, requests: Any = None, pos: int = 0) -> int:
            return self.whole

        def _fit(self, tokens: int) -> int:
            return max(1, min(ROWS, LOGITS // (6 * self.config.vocab_size * tokens)))

        def get_model_info(self) -> dict[str, Any]:
            return {}  # it would look the model up on the hub

    # In bf16 sums of logarithms are so coarse that choices tie.
    return Model(loaded.model, tokenizer=loaded.tokenizer, batch_size="auto",
                 softmax_dtype="float32")  # fmt: skip
