"""One exception tree. Every error says in one sentence what is wrong and then what to do.

Exit codes: 0 done, 1 failed, 2 wrong use or bad input, 3 the gate said no, 4 a limit of time or
money was reached, 130 interrupted, 143 terminated.
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Something failed. `what` names the file, line or recipe key; `do` is the next step."""

    exit_code = 1

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__(f"{what} {do}".strip())
        self.what = what
        self.do = do


class BadInput(ApplianceError):
    """The user's input cannot be used as it is: nothing was changed."""

    exit_code = 2


class RecipeError(BadInput):
    """A recipe key or value is wrong."""


class DataError(BadInput):
    """A data file or one of its rows is wrong; names file and line."""


class ModelError(BadInput):
    """A model is not there, or cannot be used for this."""


class RunError(BadInput):
    """A run directory is missing, in use, or belongs to another recipe."""


class NoSpace(ApplianceError):
    """The disk is full, or would be."""


class TrainingFailed(ApplianceError):
    """Training could not go on (a loss that is not finite, no token that carries loss)."""


class ProofFailed(ApplianceError):
    """What was exported is not what was trained."""


class GateRefused(ApplianceError):
    """The verdict is no, so nothing is exported."""

    exit_code = 3


class Stop(BaseException):
    """SIGTERM. Not an Exception: libraries swallow those while they import one another."""

    exit_code = 143


class LimitReached(Stop):
    """--max-hours or --max-cost: the same clean end."""

    exit_code = 4
