"""What torchrun starts once for each card: `-m appliance.train.worker RUN`.

Its stdout is the terminal of the command that launched it (`train/launch.py`).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import nullcontext, suppress

from appliance.console import console
from appliance.disk import write_json
from appliance.errors import ApplianceError, Stop
from appliance.run import RunDir, hold


def main(folder: str) -> None:
    from appliance.train import processes
    from appliance.train.launch import end_with_parent

    end_with_parent(signal.SIGKILL)
    run = RunDir.open(folder)
    os.dup2(1, 2)
    console.quiet(run.log)
    try:
        processes.begin()
        from appliance.train.skeleton import train  # after Unsloth, which patches what it imports

        run.writes = processes.number() == 0
        # A training whose command was killed ends some seconds later: not two of them at once.
        held = hold(run.trainer, "--run") if run.writes else nullcontext()
        with held, nullcontext() if run.writes else console.aside(run.log):
            train(run, run.recipe())
            processes.end()
    except (Stop, KeyboardInterrupt) as stop:
        sys.exit(143 if isinstance(stop, Stop) else 130)
    except Exception as error:
        traceback.print_exc()  # into the log
        _tell(run, error)
        sys.exit(1)


def _tell(run: RunDir, error: Exception) -> None:
    """What went wrong first, for the command that launched it: others fail only for its sake."""
    if run.failure.exists():
        return
    told: dict[str, str | None]
    if isinstance(error, ApplianceError):
        told = {"kind": type(error).__name__, "what": error.what, "do": error.do}
    else:
        told = {"kind": None, "what": f"{type(error).__name__}: {str(error).strip()[:300]}"}
    with suppress(ApplianceError):
        write_json(run.failure, told)


if __name__ == "__main__":
    main(sys.argv[1])
