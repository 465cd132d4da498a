"""Stars over similar things, against the obvious greedy in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.cover import cover

Pairs = dict[tuple[int, int], float]


def obvious_cover(n: int, pairs: Pairs) -> list[tuple[int, float]]:
    """Centres by rescanning everything, then the best centre for each thing."""
    near = {thing: {} for thing in range(n)}
    for (a, b), similarity in pairs.items():
        near[a][b] = near[b][a] = similarity
    uncovered, centres = set(range(n)), set()
    while uncovered:
        centre = min(uncovered, key=lambda thing: (-len(uncovered & near[thing].keys()), thing))
        centres.add(centre)
        uncovered -= {centre, *near[centre]}
    stars = []
    for thing in range(n):
        best = min(((-near[thing][c], c) for c in centres if c in near[thing]), default=(-1.0, thing))
        stars.append((thing, 1.0) if thing in centres else (best[1], -best[0]))
    return stars


def arrays(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return ends[:, 0], ends[:, 1], np.array([pairs[pair] for pair in sorted(pairs)])


def test_a_chain_is_cut() -> None:
    chain = {(n, n + 1): 0.9 for n in range(4)}  # 0-1-2-3-4: the ends are far apart
    centre, similarity = cover(5, *arrays(chain))
    assert centre.tolist() == [1, 1, 1, 3, 3]
    assert similarity.tolist() == [0.9, 1.0, 0.9, 1.0, 0.9]


def test_nothing_similar() -> None:
    centre, similarity = cover(3, *arrays({}))
    assert centre.tolist() == [0, 1, 2]
    assert similarity.tolist() == [1.0, 1.0, 1.0]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_equals_the_obvious_greedy(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 9))
    ends = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1])
    pairs = data.draw(st.dictionaries(ends, st.sampled_from([0.86, 0.9, 0.95]), max_size=20)) if n > 1 else {}
    centre, similarity = cover(n, *arrays(pairs))
    assert list(zip(centre.tolist(), similarity.tolist(), strict=True)) == obvious_cover(n, pairs)
