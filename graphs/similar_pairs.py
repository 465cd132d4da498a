"""Compares vectors in blocks and keeps who is near; knows rows and numbers, neither Spark nor values.

Cosines are exact: vectors are taken at five decimals, as integers, whose products and sums fit a float64 without
rounding. So the same two vectors are equally near in any block, on any machine and number of threads.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SCALE = 100_000.0
DIGITS = 6  # cosines are rounded to so many decimals before a threshold is applied
# A table of cosines is BLOCK rows high and about three such tables are alive at once. Known values have no upper bound,
# so they come in blocks as well: near_known takes 430 MB over its vectors (384 numbers each) with 20,000 known values
# and with 100,000. near_pairs takes 1.3 GB with the 20,000 new values that CanonicalSettings lets through.
BLOCK = 2_048  # rows compared at once
CENTRES = 8_192  # known values they are compared with at once


def unit_rows(table: pa.Table) -> tuple[pa.Array, Floats]:
    """(values [n] sorted, vectors [n, d] as integers, zero where there is none) of a [value, vector] table.

    Raises ValueError when the vectors differ in length: they come from different encoders.
    """
    table = table.sort_by("value")
    values, vectors = table["value"].combine_chunks(), table["vector"].combine_chunks()
    sizes = pc.fill_null(pc.list_value_length(vectors), 0).to_numpy(zero_copy_only=False)
    found = np.unique(sizes[sizes > 0])
    if len(found) > 1:
        raise ValueError(
            f"Vectors of {' and '.join(map(str, found))} numbers meet among the values of one field. "
            "They come from different encoders: embed all values anew with one."
        )
    rows = np.zeros((len(values), int(found[0]) if len(found) else 0))
    flat = pc.list_flatten(vectors).to_numpy(zero_copy_only=False)
    rows[sizes > 0] = flat.reshape(np.count_nonzero(sizes), rows.shape[1])
    rows[~np.isfinite(rows).all(axis=1)] = 0.0
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return values, np.rint(SCALE * np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))


def cosines(a: Floats, b: Floats) -> Floats:
    """[n, m] cosines of integer rows [n, d] and [m, d], rounded; 0 with a row that has no vector."""
    lengths = np.sqrt((a * a).sum(axis=1))[:, None] * np.sqrt((b * b).sum(axis=1))[None, :]
    return cast(Floats, np.round(np.divide(a @ b.T, lengths, out=np.zeros_like(lengths), where=lengths > 0), DIGITS))


def near_known(vectors: Floats, centres: Floats, threshold: float) -> tuple[Ints, Floats]:
    """(row of `centres` or -1, cosine) of each vector's nearest centre at `threshold` or above; ties to the first."""
    nearest = np.full(len(vectors), -1, dtype=np.int64)
    similarity = np.zeros(len(vectors))
    if not vectors.size or not centres.size:
        return nearest, similarity
    _same_encoder(vectors, centres)
    for begin in range(0, len(vectors), BLOCK):
        rows = slice(begin, begin + BLOCK)
        best, similarity[rows] = _nearest(vectors[rows], centres)
        nearest[rows] = np.where((similarity[rows] >= threshold) & (vectors[rows] != 0).any(axis=1), best, -1)
    return nearest, similarity


def _nearest(rows: Floats, centres: Floats) -> tuple[Ints, Floats]:
    """(row of `centres`, cosine) of each row's nearest centre, the first among equals; centres come block by block."""
    nearest = np.zeros(len(rows), dtype=np.int64)
    similarity = np.full(len(rows), -np.inf)
    for begin in range(0, len(centres), CENTRES):
        best, cosine = _best(cosines(rows, centres[begin : begin + CENTRES]))
        nearer = cosine > similarity  # strictly: an equal one of a later block does not come first
        nearest[nearer], similarity[nearer] = begin + best[nearer], cosine[nearer]
    return nearest, similarity


def _best(table: Floats) -> tuple[Ints, Floats]:
    """(column, number) of the first largest number of each row."""
    best = table.argmax(axis=1)
    return best, table[np.arange(len(best)), best]


def near_pairs(vectors: Floats, threshold: float) -> tuple[Ints, Ints, Floats]:
    """(row, later row, cosine) of all pairs at `threshold` or above, sorted."""
    has_vector = np.flatnonzero((vectors != 0).any(axis=1))
    found: list[tuple[Ints, Ints, Floats]] = []
    for begin in range(0, len(has_vector), BLOCK):
        rows, others = has_vector[begin : begin + BLOCK], has_vector[begin:]
        table = cosines(vectors[rows], vectors[others])
        a, b = np.nonzero((table >= threshold) & (np.arange(len(others)) > np.arange(len(rows))[:, None]))
        found.append((rows[a], others[b], table[a, b]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    first, second, similarity = (np.concatenate(part) for part in zip(*found, strict=True))
    return first, second, similarity


def _same_encoder(vectors: Floats, centres: Floats) -> None:
    if vectors.shape[1] != centres.shape[1]:
        raise ValueError(
            f"New values have vectors of {vectors.shape[1]} numbers, known ones of {centres.shape[1]}. "
            "The encoder changed: recompute the canonical values."
        )
