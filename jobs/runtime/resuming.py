"""Where a stream goes on: at its checkpoint, or behind what it is known to have read where that is of no use any more.

Delta drops commits of its log after thirty days. A stream whose table got no row all that time, but other commits
(those of maintenance, of forgetting), finds the commit that its checkpoint names gone. What the stage's last execution
read is known without it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.errors import StreamingQueryException

from jobs.runtime.errors import GateStop
from jobs.runtime.history import History
from jobs.runtime.stage import Stage
from jobs.runtime.tables import MISSING, Tables, list_names

# What Delta says when commits that it has to read are not there: at its offset, in the middle, at a first version.
LOG_IS_GONE = (
    "DELTA_LOG_FILE_NOT_FOUND",  # and …_FOR_STREAMING_SOURCE
    "DELTA_MISSING_FILES_UNEXPECTED_VERSION",
    "DELTA_VERSION_NOT_FOUND",
    "VersionNotFoundException",
)
BEGUN_AT = "-from-"


@dataclass(frozen=True)
class Place:
    """A checkpoint, the mark that tells its batches from those of others, and the first commit it ever read.

    Without a `first` commit its stream began with the whole table.
    """

    checkpoint: str
    mark: str
    first: int | None


def go_on(tables: Tables, history: History, stage: Stage, read_on: Callable[[Place], None]) -> None:
    """Have `read_on` read what is new to the stage, at the place where that can be done.

    Raises GateStop when the log is gone and nothing else tells what the stage has read.
    """
    try:
        read_on(place_of(tables, history, stage))
    except StreamingQueryException as error:
        if not log_is_gone(error):
            raise
        place = place_behind(tables, history, stage)
        if place is None:
            return
        try:
            read_on(place)
        except StreamingQueryException as again:
            raise GateStop(lost(stage)) if log_is_gone(again) else again from None


def is_behind(tables: Tables, history: History, stage: Stage) -> bool:
    """Whether a stream has rows to read; one that never began starts with what is there then."""
    driving = str(stage.driving)
    if stage.mode != "streams" or not tables.exists(driving):
        return False
    last = history.last(stage.name)
    if last is None:  # a run that died noted nothing, but its stream goes on from where it was
        epoch = str(history.epoch(stage.name))
        return bool(list_names(tables.spark, posixpath.join(tables.state, "_checkpoints", stage.name, epoch)))
    return last.inputs.get(driving, MISSING) < tables.last_append(driving)


def place_of(tables: Tables, history: History, stage: Stage) -> Place:
    """Where the stream of a stage goes on: the latest of its checkpoints in this epoch."""
    epoch = str(history.epoch(stage.name))
    folder = posixpath.join(tables.state, "_checkpoints", stage.name)
    begun = [name for name in list_names(tables.spark, folder) if name.startswith(epoch + BEGUN_AT)]
    mark = max(begun, key=lambda name: int(name.removeprefix(epoch + BEGUN_AT)), default=epoch)
    return _place(folder, mark)


def place_behind(tables: Tables, history: History, stage: Stage) -> Place | None:
    """A new place behind what the stage's last execution read, None where nothing came since.

    Raises GateStop when that is not known, or gone as well: nobody can tell which rows were not read. So it is after a
    run that was cut off in a batch: its rows may be written, and what kept them from coming twice is the batch's name.
    """
    driving, last = str(stage.driving), history.last(stage.name)
    read = MISSING if last is None else last.inputs.get(driving, MISSING)
    if read == MISSING or _is_cut_off(tables, place_of(tables, history, stage)):
        raise GateStop(lost(stage))
    if read >= tables.version(driving):
        return None
    return _place(
        posixpath.join(tables.state, "_checkpoints", stage.name), f"{history.epoch(stage.name)}{BEGUN_AT}{read + 1}"
    )


def log_is_gone(error: Exception) -> bool:
    """Whether a stream stopped because commits that it has to read were dropped."""
    return any(words in str(error) for words in LOG_IS_GONE)


def lost(stage: Stage) -> str:
    """What to do when nothing tells any more what a stream has read."""
    return (
        f"{stage.name}: the log of {stage.driving} does not reach back to what this stage has read; run with "
        f"--recompute {stage.name} (unchanged calls cost nothing)"
    )


def _is_cut_off(tables: Tables, place: Place) -> bool:
    """Whether a batch was begun at this place that did not come to its end."""
    begun, ended = (
        max(map(int, filter(str.isdigit, list_names(tables.spark, posixpath.join(place.checkpoint, part)))), default=-1)
        for part in ("offsets", "commits")
    )
    return begun > ended


def _place(folder: str, mark: str) -> Place:
    first = mark.partition(BEGUN_AT)[2]
    return Place(posixpath.join(folder, mark), mark, int(first) if first else None)
