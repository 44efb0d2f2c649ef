"""What TRL's trainers need to be stopped anywhere and go on: when and how one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from appliance.model import backend
from appliance.train import processes
from appliance.train.checkpoint import Checkpoints, Clock


class When(TrainerCallback):
    """Asks for a checkpoint by the clock, and for one and the end when `asked` says so."""

    def __init__(self, minutes: float, asked: Callable[[], bool]) -> None:
        self.clock, self.asked = Clock(minutes), asked

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step, steps = state.global_step, state.max_steps
        if processes.first_says(lambda: self.clock.due(step, steps)):
            control.should_save = True
        if processes.anyone(self.asked()) and step < steps:
            control.should_save = control.should_training_stop = True


def resumable(
    trainer_class: type,
    checkpoints: Checkpoints,
    add: Callable[[Path], None],
    seed: int,
    batch_size: int,
) -> type:
    """`trainer_class`, whose checkpoints are whole, and whose order of rows is that of its epoch.

    `add` puts into a checkpoint what is not the trainer's. `batch_size`: the rows of a step, of all
    processes together.
    """

    class Resumable(trainer_class):
        aside = checkpoints.folder

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            # Of several processes each writes its random state, the first all else.
            with checkpoints.writing(self.state.global_step) as self.aside:
                super()._save_checkpoint(model, trial)
                if processes.number() == 0:
                    add(self.aside / f"checkpoint-{self.state.global_step}")

        def _get_output_dir(self, trial: Any) -> str:
            return str(self.aside)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            """The one of like lengths draws from the global generator: another after a stop.

            Here the epoch decides: `seed + epoch`, as for a random order (accelerate's sampler).
            """
            sampler = super()._get_train_sampler(train_dataset)
            if not isinstance(sampler, LengthGroupedSampler):
                return sampler
            # Sorted by length are some steps' rows at a time, however many processes share a step.
            sampler.batch_size = batch_size
            trainer, torch = self, backend.torch()

            class OfTheEpoch(LengthGroupedSampler):
                def __iter__(self) -> Iterator[int]:
                    epoch = int((trainer.state.epoch or 0) + 1e-6)
                    self.generator = torch.Generator().manual_seed(seed + epoch)
                    return super().__iter__()

            sampler.__class__ = OfTheEpoch
            return sampler

    return Resumable
