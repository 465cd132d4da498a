"""Hashes listed files where they will be read: on executors."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from udfs.readers.listing import hash_file


def hash_files(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """For mapInPandas: adds `content_hash` (sha256 of the bytes; null where they could not be read this time)."""
    for frame in frames:
        hashes = pd.Series([hash_file(path) for path in frame["path"]], index=frame.index, dtype=object)
        yield frame.assign(content_hash=hashes)
