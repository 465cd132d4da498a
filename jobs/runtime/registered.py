"""What stands in `source_files` of each file: every content it was read with, and which of them it has now.

A content that a file does not have any more, because it was rewritten or is gone, has no time (`mtime_ns` null).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from jobs.runtime.tables import Tables


@dataclass(frozen=True)
class Listed:
    """A row of `source_files`."""

    id: str
    size: int
    mtime_ns: int | None
    content_hash: str | None  # None: it could not be hashed, and has perhaps not been read
    forgotten: bool


@dataclass(frozen=True)
class Contents:
    """The rows of one file."""

    rows: tuple[Listed, ...]

    @property
    def hashed(self) -> list[Listed]:
        return [row for row in self.rows if row.content_hash is not None]

    @property
    def current(self) -> Listed | None:
        """The content that the file had when it was last listed; None when it was not there.

        Where an older program left several, the newest.
        """
        there = [row for row in self.hashed if row.mtime_ns is not None]
        return max(there, key=lambda row: row.mtime_ns or 0, default=None)

    @property
    def waiting(self) -> Listed | None:
        """The row that is still to be hashed."""
        return next((row for row in self.rows if row.content_hash is None and not row.forgotten), None)

    @property
    def forgotten(self) -> bool:
        newest = self.current
        return newest.forgotten if newest is not None else all(row.forgotten for row in self.rows)

    def of(self, content: str | None) -> Listed | None:
        """The row of a content: the one that stands, where there are two."""
        rows = [row for row in self.hashed if row.content_hash == content]
        return self.current if self.current in rows else next(iter(rows), None)

    def stands_as(self, size: int, mtime_ns: int) -> bool:
        """Whether the newest row tells of a file of this size and time."""
        row = self.current
        return row is not None and (row.size, row.mtime_ns) == (size, mtime_ns)

    def is_open(self, size: int, mtime_ns: int) -> bool:
        """Whether a file of this size and time has to be hashed; never where it was forgotten unread."""
        if any(row.content_hash is None and row.forgotten for row in self.rows):
            return False
        return self.waiting is not None or not self.stands_as(size, mtime_ns)


Registered = dict[tuple[str, str], Contents]  # by kind and path


def registered(tables: Tables) -> Registered:
    """Every file that was ever registered."""
    if not tables.exists("source_files"):
        return {}
    rows = tables.read("source_files").select("kind", "path", "id", "size", "mtime_ns", "content_hash", "reject_reason")
    found = defaultdict[tuple[str, str], list[Listed]](list)
    for row in rows.collect():
        told = Listed(row["id"], row["size"], row["mtime_ns"], row["content_hash"], row["reject_reason"] is not None)
        found[row["kind"], row["path"]].append(told)
    return {key: Contents(tuple(rows)) for key, rows in found.items()}
