"""Rows compared with a tolerance, against the comparison that tests of whole runs use."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.equality import alike as oracle
from udfs.alike import alike

leaves = st.none() | st.booleans() | st.text(max_size=3) | st.floats(-10, 10) | st.sampled_from([1.0, 1.000001, 1.1])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)


@given(values, values)
def test_alike_agrees_with_the_oracle(one: Any, two: Any) -> None:
    assert alike(one, two) == oracle(one, two)
    assert alike(one, one)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (1.0, 1.000001, True),
        (1.0, 1.001, False),
        (0.0, 0, True),  # JSON writes a whole float either way
        (3, 4, False),
        ({"a": [1.0, {"b": "x"}]}, {"a": [1.0000001, {"b": "x"}]}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ([1.0], [1.0, 1.0], False),
    ],
)
def test_what_counts_as_the_same(one: object, two: object, same: bool) -> None:
    assert alike(one, two) is same
