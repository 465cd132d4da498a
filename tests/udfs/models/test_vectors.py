"""A column of vectors as a matrix, in however many chunks it comes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from udfs.models.vectors import matrix

FLOATS = pa.list_(pa.float32())


def test_rows_stay_in_their_order_over_chunks_and_slices() -> None:
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    whole = pa.array(rows, FLOATS)
    for column in (pa.chunked_array([whole]), pa.chunked_array([whole[:1], whole[1:1], whole[1:]])):
        assert matrix(column).tolist() == rows and matrix(column).dtype == np.float32
    assert matrix(pa.chunked_array([whole[1:3]])).tolist() == rows[1:3]
    assert matrix(pa.chunked_array([pa.array(rows, pa.list_(pa.float64()))])).dtype == np.float32


def test_nothing_is_an_empty_matrix() -> None:
    for column in (pa.chunked_array([], FLOATS), pa.chunked_array([pa.array([], FLOATS)])):
        assert matrix(column).shape == (0, 0)
