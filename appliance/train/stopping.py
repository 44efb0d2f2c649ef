"""A stop that is asked for while training: after the step, with a checkpoint.

Machines that are taken back give 30 seconds, `docker stop` gives 10. The timer of `limits.py` asks
likewise, and waits for the step however long it is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from appliance.errors import LimitReached, Stop
from appliance.train import processes

SECONDS = 8.0  # after which it ends at once, step or no step: the last whole checkpoint stands
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


class Asked:
    """Has a signal asked for the end?"""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None

    def end(self) -> BaseException:
        """What to raise for it."""
        kinds = {signal.SIGINT: KeyboardInterrupt, signal.SIGALRM: LimitReached}
        return kinds.get(signal.Signals(self.number or signal.SIGTERM), Stop)()


@contextmanager
def asked_to_stop(say: Callable[[str], None]) -> Iterator[Asked]:
    """Meanwhile SIGTERM and SIGINT only ask. A second one ends at once.

    Not in one of several processes: a service manager's signal comes once more from torchrun.
    """
    asked = Asked()

    def at_once(number: int) -> None:
        say("  ended at once; the same command goes on at the last checkpoint")
        os._exit(CODES[signal.Signals(number)])

    def limit(number: int, frame: FrameType | None) -> None:
        if not asked():
            asked.number = number
            say("  the limit is reached: stopping after this step, with a checkpoint")

    def hear(number: int, frame: FrameType | None) -> None:
        if asked() and asked.number != signal.SIGALRM:
            if processes.count() > 1:
                return
            at_once(number)
        asked.number = number
        say("  stopping after this step, with a checkpoint (again: at once)")
        timer = threading.Timer(SECONDS, at_once, [number])
        timer.daemon = True
        timer.start()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, hear) for number in CODES}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, limit)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
