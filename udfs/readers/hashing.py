"""Hashes listed files where they will be read: on executors."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from udfs.readers.listing import hash_file


def hash_files(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """For mapInPandas: adds `content_hash` (sha256 of the bytes; null where the file cannot be read)."""
    for frame in frames:
        hashes = pd.Series([_hash_or_none(path) for path in frame["path"]], index=frame.index, dtype=object)
        yield frame.assign(content_hash=hashes)


def _hash_or_none(path: str) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None  # the reader will say what is wrong with it
