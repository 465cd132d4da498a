"""Tells a full or refusing storage from a bug, wherever in Python or the JVM it made itself known.

Python, Hadoop, SQLite and the object stores each have errors of their own for it; what they share are the
system's words.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from jobs.runtime.errors import LongloomError, StorageFault

SAYINGS = {
    "No space left on device": "is full",
    "Disk quota exceeded": "has no quota left",
    "database or disk is full": "is full",
    "File too large": "does not take files of this size",
    "Read-only file system": "is read-only",
    "readonly database": "is read-only",
    "Permission denied": "refuses access",
    "AccessDenied": "refuses access",
}
GOES_ON = "What was committed stays; make room or mend it, and run again: the run continues where it stopped."
NOTHING_WRITTEN = "Nothing of it was changed: make room or mend it, and run again."  # for jobs that only read
LONGEST = 200  # characters of what was said


def ended_by(error: Exception, fault: StorageFault | None) -> int:
    """The exit status of a job that an error ended, told on stderr; `fault` is what the storage had to do with it.

    What nobody foresaw is raised again.
    """
    known = error if isinstance(error, LongloomError) else fault
    if known is None:
        raise error
    print(f"longloom: {known}", file=sys.stderr)
    return known.exit_status


def storage_fault(error: BaseException, state: str, then: str = GOES_ON) -> StorageFault | None:
    """The sentence for an error behind which the storage stands; None for every other error.

    `then` says what became of what was written, and what to do.
    """
    for said in _sayings(error):
        for words, what in SAYINGS.items():
            if words in said:
                line = next(line for line in said.splitlines() if words in line).strip()
                return StorageFault(
                    f"the storage of {state}, or the machine's own scratch space, {what} ({_end(line)}). {then}"
                )
    return None


def _end(line: str) -> str:
    """The last words of a line: what precedes them is which task of which stage."""
    return line if len(line) <= LONGEST else f"… {line[-LONGEST:].partition(' ')[2]}"


def _sayings(error: BaseException | None) -> Iterator[str]:
    """What an error and its causes say, those on the JVM's side included."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield str(error)  # of a Py4JJavaError: with the whole Java stack and its causes
        thrown = getattr(error, "_origin", None)  # pyspark's own errors keep the Java one here
        while thrown is not None:
            yield str(thrown.toString())
            thrown = thrown.getCause()
        error = error.__cause__ or error.__context__
