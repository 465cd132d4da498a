"""Nearest seed path: an inverted index with one counter per path, against a scipy sparse product; one core each."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from graphs.cooccurrence import count_pairs
from graphs.nearest import SeedIndex, build_index, nearest_seeds
from graphs.walk_kernel import build_graph, sample
from tests.benchmarks.synthetic import held_values
from tests.benchmarks.timing import interleaved, ratio, say, scaled

ROWS = 2_000  # walks multiplied at a time: the whole product would not fit into memory

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def by_product(walks: csr_matrix, seeds: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """(seed path, overlap) of each walk: the largest entry of its row of walks · seedsᵀ, the first one of a tie."""
    columns = seeds.T.tocsr()
    best, overlap = np.zeros(walks.shape[0], np.int64), np.zeros(walks.shape[0], np.int64)
    for begin in range(0, walks.shape[0], ROWS):
        product = walks[begin : begin + ROWS] @ columns
        product.sort_indices()
        met = np.flatnonzero(np.diff(product.indptr))
        if len(met):
            row = np.repeat(np.arange(product.shape[0]), np.diff(product.indptr))
            largest = np.zeros(product.shape[0], product.dtype)
            largest[met] = np.maximum.reduceat(product.data, product.indptr[met])
            hits = np.flatnonzero(product.data == largest[row])
            first = hits[np.concatenate([[True], row[hits][1:] != row[hits][:-1]])]
            best[begin + row[first]] = product.indices[first]
            overlap[begin + row[first]] = product.data[first]
    return best, overlap


def test_nearest() -> None:
    paths, wanted = scaled(32_000, 200), scaled(150_000, 500)
    conversation, field, value = held_values(paths)
    distinct, node = np.unique(field << 48 | value, return_inverse=True)
    held = np.unique(conversation * len(distinct) + node)
    seed, node = held // len(distinct), held % len(distinct)
    counted = count_pairs(seed, node, distinct >> 48, np.ones(len(distinct), dtype=bool))
    graph = build_graph(distinct >> 48, *counted[:2], counted[2].astype(np.float64))
    walks = sample(graph, 3, np.arange(wanted), 6, 4, 20).nodes
    steps = np.flatnonzero(walks.ravel() >= 0)
    ones = np.ones(len(steps), np.int32)
    as_rows = csr_matrix((ones, (steps // walks.shape[1], walks.ravel()[steps])), shape=(wanted, len(distinct)))
    as_columns = csr_matrix((np.ones(len(seed), np.int32), (seed, node)), shape=(paths, len(distinct)))

    def ours() -> tuple[np.ndarray, np.ndarray]:
        index: SeedIndex = build_index(len(distinct), paths, seed, node)
        return nearest_seeds(index, walks)

    found = interleaved({"scipy": lambda: by_product(as_rows, as_columns), "ours": ours})
    for mine, theirs in zip(found["ours"].result, found["scipy"].result, strict=True):
        assert np.array_equal(mine, theirs)
    ours_cpu, peer_cpu = found["ours"].warm_cpu, found["scipy"].warm_cpu
    say(
        "nearest seed path",
        f"{wanted:,} walks against {paths:,} seed paths: longloom {wanted / ours_cpu / 1e6:.2f} M/s, scipy sparse "
        f"product {wanted / peer_cpu / 1e6:.3f} ({ratio(peer_cpu, ours_cpu):.1f}x warm, "
        f"{ratio(found['scipy'].cold, found['ours'].cold):.1f}x cold, reach 5x), index built within, same path and "
        "overlap for every walk",
    )
