"""Train a prepared run, killed (kill -9) at so many random moments, until it is through.

    python tests/kill_often.py RUN KILLS SEED

A process imports everything once and forks: each try is a child that trains from what is on the
disk. Half of the kills come while a checkpoint is being written. Prints one JSON line: kills, how
many of them while writing, and the steps at which the tries began.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path


def must_be_well(status: int) -> None:
    if status:
        sys.exit(f"a try that nobody killed ended with {status}")


def wait(child: int, until: Callable[[], bool]) -> bool:
    """Until it is so; False where the child ended before."""
    while not until():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            must_be_well(status)
            return False
        time.sleep(0.001)
    return True


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    from appliance.run import RunDir
    from appliance.train import skeleton
    from appliance.train.checkpoint import Checkpoints, step_of

    run = RunDir.open(folder)
    recipe = run.recipe()
    draw = random.Random(seed)
    checkpoints = Checkpoints(run.trainer, recipe.train.checkpoints)
    part = run.trainer / ".part"
    begun, done, writing = [], 0, 0

    def newest() -> int:
        return max(map(step_of, checkpoints.all()), default=0)

    while not run.train_facts.is_file():
        begun.append(newest())
        child = os.fork()
        if child == 0:
            # As in a new process: nothing of the parent's is written twice.
            skeleton.train(run, recipe)
            os._exit(0)
        if done < kills:
            at_writing = draw.random() < 0.5
            further = draw.randint(0, 2)  # checkpoints that this try may make
            rest = draw.uniform(0, 0.1 if at_writing else 3)
            if wait(child, lambda least=begun[-1] + further: newest() >= least) and (
                not at_writing or wait(child, part.exists)
            ):
                time.sleep(rest)
                writing += part.exists()
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                done += 1
        else:
            _, status = os.waitpid(child, 0)
            must_be_well(status)
    print(json.dumps({"kills": done, "while_writing": writing, "begun_at": begun}))


if __name__ == "__main__":
    main()
