"""Splits by source document: no document on both sides, the same in any order."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from jobs.runtime.splits import TEST, TRAIN, split_by_document

documents = st.lists(st.sampled_from([f"d{n}" for n in range(12)]), min_size=0, max_size=2, unique=True)
rows = st.lists(documents, max_size=30).map(lambda held: [(f"r{n}", documents) for n, documents in enumerate(held)])


@given(rows, st.floats(0, 0.9), st.randoms(use_true_random=False))
def test_no_document_is_in_both_and_order_does_not_matter(
    held: list[tuple[str, list[str]]], share: float, shuffle: random.Random
) -> None:
    splits = split_by_document(held, share)
    assert splits.keys() == {row for row, _ in held}
    sides = {
        side: {document for row, documents in held if splits[row] == side for document in documents}
        for side in (TRAIN, TEST)
    }
    assert not sides[TRAIN] & sides[TEST]
    assert sum(side == TEST for side in splits.values()) <= share * len(held) + 1e-6
    mixed = list(held)
    shuffle.shuffle(mixed)
    assert split_by_document(mixed, share) == splits


def test_the_share_is_met_where_groups_are_small() -> None:
    splits = split_by_document([(f"r{n}", [f"d{n}"]) for n in range(200)], 0.05)
    assert sum(side == TEST for side in splits.values()) == 10


def test_rows_joined_over_others_stay_together() -> None:
    chain = [("a", ["d1"]), ("b", ["d1", "d2"]), ("c", ["d2", "d3"]), ("other", ["d9"])]
    splits = split_by_document(chain, 0.75)
    assert len({splits[row] for row in "abc"}) == 1
    assert set(splits.values()) == {TRAIN, TEST}
