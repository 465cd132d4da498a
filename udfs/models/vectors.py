"""Vectors of a table as one matrix, without a Python object for each number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """(rows, dimensions), float32, of a column of lists of one length without nulls; (0, 0) of an empty one."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float32, copy=False)
    return flat.reshape(len(column), -1) if len(column) else np.empty((0, 0), np.float32)
