"""Batches: every sequence once, within the budget, its padded length its own affair."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.models.batching import STEP, Batch, plan_batches


def test_sequences_of_one_padded_length_share_batches_longest_first() -> None:
    assert plan_batches([3, 16, 5, 9, 8, 2], budget=16, window=512) == [
        Batch((1,), 16),  # full
        Batch((3,), 16),  # padded: attention takes another path
        Batch((4,), 8),
        Batch((0, 2), 8),
        Batch((5,), 8),
    ]


def test_padding_stops_at_the_window() -> None:
    assert plan_batches([61], budget=100, window=62) == [Batch((0,), 62)]


def test_a_sequence_over_the_budget_goes_alone() -> None:
    assert plan_batches([32, 32], budget=10, window=64) == [Batch((0,), 32), Batch((1,), 32)]


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 100), max_size=60), budget=st.integers(1, 400), others=st.lists(st.integers(1, 100))
)
def test_padded_length_does_not_depend_on_the_company(lengths: list[int], budget: int, others: list[int]) -> None:
    batches = plan_batches(lengths, budget, 100)
    assert sorted(index for batch in batches for index in batch.indexes) == list(range(len(lengths)))
    assert all(len(batch.indexes) * batch.length <= max(budget, batch.length) for batch in batches)
    assert all(0 <= batch.length - lengths[i] < STEP for batch in batches for i in batch.indexes)
    together = {i: batch.length for batch in plan_batches(lengths + others, budget, 100) for i in batch.indexes}
    assert all(together[i] == batch.length for batch in batches for i in batch.indexes)
