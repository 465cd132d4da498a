"""The inverted index against comparing every walk with every seed path."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.nearest import build_index, nearest_seeds

NODES = 10
paths = st.lists(st.integers(0, NODES - 1), max_size=6)


def nearest(seeds: list[list[int]], walks: list[list[int]]) -> list[tuple[int, int]]:
    seed = np.array([s for s, path in enumerate(seeds) for _ in path], dtype=np.int64)
    node = np.array([n for path in seeds for n in path], dtype=np.int64)
    padded = np.array([walk + [-1] * (6 - len(walk)) for walk in walks], dtype=np.int32).reshape(-1, 6)
    best, overlap = nearest_seeds(build_index(NODES, len(seeds), seed, node), padded)
    return list(zip(best.tolist(), overlap.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(st.lists(paths, max_size=8), st.lists(st.lists(st.integers(0, NODES - 1), unique=True, max_size=6), max_size=5))
def test_equals_brute_force(seeds: list[list[int]], walks: list[list[int]]) -> None:
    expected = []
    for walk in walks:
        overlaps = [len(set(walk) & set(seed)) for seed in seeds]
        top = max(overlaps, default=0)
        expected.append((overlaps.index(top) if seeds else -1, top))
    assert nearest(seeds, walks) == expected


def test_ties_go_to_the_smallest() -> None:
    assert nearest([[0], [1, 2, 2], [2, 1]], [[1, 2, 3], [4]]) == [(1, 2), (0, 0)]
