"""Finds for each walk the seed path that shares most nodes with it, through an inverted index.

It refuses to know Spark and strings: nodes and seed paths are numbers, and seed paths are numbered in the order of
their ids, so that the smallest number is the smallest id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.jit import compiled

Ints = npt.NDArray[np.int64]
Nodes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class SeedIndex:
    """Postings: the seed paths that hold node v are seed[start[v]] .. seed[start[v+1]-1], ascending, once each."""

    start: Ints
    seed: Ints
    seeds: int


def build_index(nodes: int, seeds: int, seed: Ints, node: Ints) -> SeedIndex:
    """Index of `seeds` paths over `nodes` nodes, from parallel arrays (path, node); repeats count once."""
    pairs = np.unique(node * max(seeds, 1) + seed)
    start = np.searchsorted(pairs, np.arange(nodes + 1, dtype=np.int64) * max(seeds, 1))
    return SeedIndex(start.astype(np.int64), (pairs % max(seeds, 1)).astype(np.int64), seeds)


def nearest_seeds(index: SeedIndex, walks: Nodes) -> tuple[Ints, Ints]:
    """(seed path, overlap) of each walk, `walks` [n, N] padded with -1.

    The largest intersection wins, ties go to the smallest number, also when the overlap is 0; the path is -1 only
    when there are no seed paths at all.
    """
    best = np.full(len(walks), -1 if index.seeds == 0 else 0, dtype=np.int64)
    overlap = np.zeros(len(walks), dtype=np.int64)
    if index.seeds:
        _count_overlaps(index.start, index.seed, index.seeds, walks, best, overlap)
    return best, overlap


@compiled
def _count_overlaps(start: Any, seed: Any, seeds: Any, walks: Any, best: Any, overlap: Any) -> None:
    """One counter per seed path; only the counters that a walk touched are read and cleared."""
    counter = np.zeros(seeds, dtype=np.int32)
    touched = np.empty(seeds, dtype=np.int64)
    for w in range(walks.shape[0]):
        n_touched = 0
        for step in range(walks.shape[1]):
            node = np.int64(walks[w, step])
            if node < 0:
                break
            for p in range(start[node], start[node + 1]):
                s = seed[p]
                if counter[s] == 0:
                    touched[n_touched] = s
                    n_touched += 1
                counter[s] += 1
        for t in range(n_touched):
            s = touched[t]
            if counter[s] > overlap[w] or (counter[s] == overlap[w] and s < best[w]):
                overlap[w] = counter[s]
                best[w] = s
            counter[s] = 0
