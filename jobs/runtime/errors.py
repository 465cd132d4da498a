"""Typed errors of a run, each with the exit status a scheduler sees."""

from __future__ import annotations

import signal
from collections.abc import Sequence

LONGEST = 200  # characters that are told of an error of somebody else's


def said(error: BaseException) -> str:
    """Kind and words of an error of somebody else's, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST]


class LongloomError(Exception):
    """An error of the world, told in a sentence: what, where, what to do. Never a traceback."""

    exit_status = 1


class SettingsFault(LongloomError):
    """Settings or inputs are wrong; nothing was written."""

    exit_status = 2

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(f"- {fault}" for fault in self.faults))


class RecipeChanged(LongloomError):
    """The settings that made the stored rows differ from this run's."""

    exit_status = 2


class LayoutRefused(LongloomError):
    """The root was written in a layout that this program does not work on; nothing was written."""

    exit_status = 2


class RootHeld(LongloomError):
    """Another run holds the root."""

    exit_status = 5


class GateStop(LongloomError):
    """A quality gate stopped the run; what is done stays, and the run can be resumed."""

    exit_status = 6


class StorageFault(LongloomError):
    """The root's storage is full or refuses access; what was committed stays, and the run can be resumed."""

    exit_status = 6


class Interrupted(LongloomError):
    """A signal ended the run; what is done stays, and the next run continues."""

    def __init__(self, number: int) -> None:
        self.exit_status = 128 + number  # as a shell tells it: 143 for SIGTERM, 130 for Ctrl-C
        super().__init__(f"stopped by {signal.Signals(number).name}; what is done stays, and the next run continues")


class ServiceRefused(LongloomError):
    """A service refused us (authentication, quota); calls stopped at once."""

    exit_status = 6


class BatchesOutstanding(LongloomError):
    """A step that cannot go on in part waits for batches at the provider; the next run collects them."""

    exit_status = 4


class AnswersWaiting(LongloomError):
    """A step that cannot go on in part waits for calls that failed for now; the next run makes them again."""

    exit_status = 4


class BudgetReached(LongloomError):
    """The run's budget is used up: nothing more was sent, what was answered is kept, and the run can be resumed."""

    exit_status = 3


class SchemaMismatch(LongloomError):
    """A stage's frame does not have the columns of its table: a bug, all differences listed."""
