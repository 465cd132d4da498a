"""Distinct numbers against a set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graphs.distinct import distinct


@given(st.lists(st.integers(-(2**62), 2**62) | st.integers(0, 5)))
def test_equals_a_set(numbers: list[int]) -> None:
    assert distinct(np.array(numbers, dtype=np.int64)).tolist() == sorted(set(numbers))
