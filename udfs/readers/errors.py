"""What can be wrong with an input, as types: before the run, in one file, in one line.

Nothing here opens a file; the sentences are written so that a person can act on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class InputFault(NamedTuple):
    """One thing wrong with the inputs a user named."""

    entry: str  # as written in the settings, or the file found through it
    code: str  # missing, empty_glob, empty_folder, unknown_kind, unreadable, unknown_scheme
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class InputFaults(ValueError):
    """All faults of the named inputs at once, so that one look mends them all."""

    def __init__(self, faults: Sequence[InputFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(fault.sentence for fault in self.faults))

    def __reduce__(self) -> tuple[type[InputFaults], tuple[tuple[InputFault, ...]]]:
        return (InputFaults, (self.faults,))


class UnreadableInput(ValueError):
    """A file whose kind or columns fit nothing that is known; said before anything is written."""

    def __init__(self, path: str, found: str, expected: str) -> None:
        self.path, self.found, self.expected = path, found, expected
        super().__init__(f"{path} cannot be read. Found: {found}. Expected: {expected}.")

    def __reduce__(self) -> tuple[type[UnreadableInput], tuple[str, str, str]]:
        return (UnreadableInput, (self.path, self.found, self.expected))


LASTING, WAITS = "file:", "defer:file:"  # how the reason of a file's own row begins; what is deferred is tried again
# Of the way to a file and not of what is in it: a store that was away, a right that was missing, a mount not there.
PASSING = frozenset({"missing", "unreadable"})


class FileFault(Exception):
    """Reading of one file ended early; it becomes a row of its own, `file:<reason>`, and the run goes on."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")

    @property
    def passes(self) -> bool:
        """Whether the file may be read another time."""
        return self.reason in PASSING

    @property
    def row_reason(self) -> str:
        """The reason of the file's row: a lasting one, or one to wait for."""
        return f"{WAITS if self.passes else LASTING}{self.reason}"
