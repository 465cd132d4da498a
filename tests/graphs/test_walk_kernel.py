"""The sampler against the exact law, enumerated in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from graphs.walk_kernel import WalkGraph, build_graph, sample

FIELD = [0, 0, 0, 1, 1, 2, 2, 3, 3, 4]  # node 2 has no edge, node 9 is a dead end after node 8
EDGES = {
    (0, 3): 40.0,
    (0, 4): 1.0,
    (0, 5): 3.0,
    (0, 8): 2.0,
    (1, 3): 2.0,
    (1, 6): 9.0,
    (1, 7): 1.0,
    (3, 5): 5.0,
    (3, 6): 1.0,
    (4, 7): 6.0,
    (4, 6): 2.0,
    (5, 7): 4.0,
    (6, 8): 1.0,
    (8, 9): 7.0,
}
Path = tuple[int, ...]


def graph_of(field: list[int], edges: dict[tuple[int, int], float]) -> WalkGraph:
    ends = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
    weights = np.array([edges[a, b] for a, b in sorted(edges)], dtype=np.float64)
    return build_graph(np.array(field, dtype=np.int64), ends[:, 0], ends[:, 1], weights)


def paths_with_odds(field: list[int], edges: dict[tuple[int, int], float], nodes: int) -> Iterator[tuple[Path, float]]:
    """Every full path and its probability: uniform field, uniform node, then by weight over unvisited fields."""
    near: dict[int, dict[int, float]] = {n: {} for n in range(len(field))}
    for (a, b), weight in edges.items():
        near[a][b] = near[b][a] = weight

    def extend(path: Path, odds: float) -> Iterator[tuple[Path, float]]:
        visited = {field[n] for n in path}
        eligible = {n: w for n, w in near[path[-1]].items() if field[n] not in visited}
        if len(path) == nodes or not eligible:
            yield path, odds
            return
        for node, weight in eligible.items():
            yield from extend((*path, node), odds * weight / sum(eligible.values()))

    sizes = Counter(field)
    for node, f in enumerate(field):
        yield from extend((node,), 1.0 / len(sizes) / sizes[f])


def drawn(graph: WalkGraph, key: int, first: int, count: int, nodes: int = 4, min_nodes: int = 1) -> list[Path]:
    walks = sample(graph, key, np.arange(first, first + count, dtype=np.int64), nodes, min_nodes, max_redraws=200)
    return [tuple(row[row >= 0].tolist()) for row in walks.nodes]


@pytest.mark.parametrize("min_nodes", [1, 3])
@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_paths_follow_the_exact_law(min_nodes: int, tau: float) -> None:
    edges = {pair: weight**tau for pair, weight in EDGES.items()}
    odds = {path: p for path, p in paths_with_odds(FIELD, edges, 4) if len(path) >= min_nodes}
    n = 200_000
    seen = Counter(drawn(graph_of(FIELD, edges), key=11, first=0, count=n, min_nodes=min_nodes))
    assert seen.keys() <= odds.keys()  # nothing impossible, so no forbidden field either
    expected = {path: n * p / sum(odds.values()) for path, p in odds.items()}  # redrawing conditions on the length
    rare = [path for path in expected if expected[path] < 10]
    cells = [path for path in expected if expected[path] >= 10]
    observed = [*(seen[path] for path in cells), sum(seen[path] for path in rare)]
    wanted = [*(expected[path] for path in cells), sum(expected[path] for path in rare)]
    kept = [i for i, w in enumerate(wanted) if w > 0]
    assert len(cells) > 20
    assert chisquare([observed[i] for i in kept], [wanted[i] for i in kept]).pvalue > 1e-3


def test_a_hub_with_many_neighbours() -> None:
    field = [0] + [1] * 3_000 + [2] * 1_000
    weights = np.random.default_rng(0).integers(1, 50, len(field))
    edges = {(0, n): float(weights[n]) for n in range(1, len(field))}
    walks = drawn(graph_of(field, edges), key=5, first=0, count=300_000, nodes=2, min_nodes=2)
    second = Counter(path[1] for path in walks if path[0] == 0)
    share = weights[1:] / weights[1:].sum()
    observed = np.array([second[n] for n in range(1, len(field))])
    assert chisquare(observed, share * observed.sum()).pvalue > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_walks_are_paths_over_distinct_fields(data: st.DataObject) -> None:
    field = sorted(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=12)))
    field = [sorted(set(field)).index(f) for f in field]
    pair = st.tuples(st.integers(0, len(field) - 1), st.integers(0, len(field) - 1))
    ends = data.draw(st.lists(pair.filter(lambda p: p[0] < p[1]), unique=True, max_size=25)) if len(field) > 1 else []
    edges = {p: data.draw(st.floats(1e-6, 1e6)) for p in ends}
    possible = {path for path, _ in paths_with_odds(field, edges, 4)}
    assert set(drawn(graph_of(field, edges), key=data.draw(st.integers(0, 2**64 - 1)), first=0, count=50)) <= possible


def test_walks_do_not_depend_on_the_batch() -> None:
    graph = graph_of(FIELD, EDGES)
    whole = drawn(graph, 3, 0, 2_000, min_nodes=3)
    assert drawn(graph, 3, 0, 10, min_nodes=3) + drawn(graph, 3, 10, 1_990, min_nodes=3) == whole
    order = np.random.default_rng(1).permutation(2_000)
    shuffled = sample(graph, 3, order, 4, 3, 200)
    assert [tuple(row[row >= 0].tolist()) for row in shuffled.nodes] == [whole[i] for i in order]
    assert drawn(graph, 4, 0, 2_000, min_nodes=3) != whole


def test_redraws_stop() -> None:
    walks = sample(graph_of([0, 1, 2], {}), 1, np.arange(5), 6, 2, max_redraws=3)
    assert walks.length.tolist() == [1] * 5
    assert walks.redraws.tolist() == [3] * 5


def test_an_empty_graph_has_empty_walks() -> None:
    walks = sample(graph_of([], {}), 1, np.arange(3), 6, 4, 20)
    assert walks.length.tolist() == [0, 0, 0]
    assert (walks.nodes == -1).all()


def test_sixty_four_fields_fit_and_no_more() -> None:
    chain = {(n, n + 1): 1.0 for n in range(63)}
    walks = drawn(graph_of(list(range(64)), chain), key=1, first=0, count=50, nodes=64)
    assert all(path == tuple(range(path[0], 64)) or path == tuple(range(path[0], -1, -1)) for path in walks)
    with pytest.raises(ValueError, match="at most 64 fields"):
        graph_of(list(range(65)), {})
