"""A training on several cards: the same recipe, handed to torchrun.

Only this stage is: the others are asked of one card, by the command itself, before and after. What
the processes do together is `train/processes.py`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

from appliance import errors
from appliance.console import console
from appliance.disk import read_json
from appliance.errors import RecipeError, Stop, TrainingFailed
from appliance.recipe import Recipe
from appliance.run import RunDir

NODES = "PET_NNODES"  # how torchrun's own variables say --nnodes
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def processes_of(gpus: int) -> int:
    """Of the whole training: `gpus` on each machine, as many machines as torchrun's variable says.

    Raises RecipeError where it says no one number.
    """
    nodes = os.environ.get(NODES, "1")
    if not nodes.isdigit() or int(nodes) < 1:
        raise RecipeError(
            f"{NODES} is {nodes}, and an effective batch needs one number of machines.",
            "Set it to that, or unset it.",
        )
    return gpus * int(nodes)


def check(recipe: Recipe, processes: int) -> None:
    """Can they share the effective batch? Raises RecipeError."""
    whole = recipe.train.batch_size
    if whole % processes:
        good = [n for n in range(1, whole + 1) if whole % n == 0]
        larger = -(-whole // processes) * processes
        raise RecipeError(
            f"train.batch_size is {whole}, which {processes} processes cannot share evenly.",
            f"Take {', '.join(map(str, good))} of them, or --set train.batch_size={larger}.",
        )


def train(run: RunDir, recipe: Recipe, gpus: int) -> None:
    """The stage `train` by `gpus` processes on this machine. As `skeleton.train` does, it raises
    Stop and KeyboardInterrupt where a signal asked for the end, and what a process failed of."""
    run.failure.unlink(missing_ok=True)
    console.say(f"  {processes_of(gpus)} processes share a step's {recipe.train.batch_size} rows")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(gpus)),
            *([] if NODES in os.environ else ["--standalone"]),
            *("-m", "appliance.train.worker", str(run.root)),
        ],
        env=_environment(gpus),
        stdout=console.err.fileno(),  # stderr, where torchrun speaks, is the log by now
        # Ctrl-C is for the command alone, which hands it on: it would arrive twice.
        start_new_session=True,
        preexec_fn=lambda: end_with_parent(signal.SIGTERM),
    )
    try:
        code = process.wait()
    except (Stop, KeyboardInterrupt) as stop:
        process.send_signal(signal.SIGTERM if isinstance(stop, Stop) else signal.SIGINT)
        process.wait()
        raise
    finally:
        process.kill()  # after a second signal; its processes end with it
    if code:
        raise _failure(run, code)


def _environment(gpus: int) -> dict[str, str]:
    found = dict(os.environ)
    # Unset, torchrun gives each process one thread.
    found.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // gpus)))
    if sys.flags.safe_path:  # a file of the caller's folder is not imported in a library's place
        found["PYTHONSAFEPATH"] = "1"
    return found


def _failure(run: RunDir, code: int) -> Exception:
    if not run.failure.is_file():
        return TrainingFailed(
            f"A process of the training was ended from outside (torchrun's exit code {code}).",
            f"Look at {run.log} and `dmesg`; the same command goes on at the last checkpoint.",
        )
    told = read_json(run.failure)
    if told["kind"] is None:
        return RuntimeError(told["what"])
    kind: type[errors.ApplianceError] = getattr(errors, told["kind"])
    return kind(told["what"], told["do"])


def end_with_parent(number: int) -> None:
    """From here on this process gets the signal when the one that started it has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
