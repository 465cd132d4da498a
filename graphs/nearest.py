"""Finds for each walk the seed path that shares most nodes with it, through an inverted index.

It refuses to know Spark and strings: nodes and seed paths are numbers, and seed paths are numbered in the order of
their ids, so that the smallest number is the smallest id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.distinct import distinct
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
    pairs = distinct(node * max(seeds, 1) + seed)
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
    """One counter per seed path; only the counters that a walk touched are read and cleared.

    The lists of a walk's nodes are read from the shortest on, until a path that none of those read so far holds could
    no longer win. In what is left, the longest lists, only the paths met so far are looked for.
    """
    counter = np.zeros(seeds, dtype=np.int32)
    touched = np.empty(seeds, dtype=np.int64)
    nodes = np.empty(walks.shape[1], dtype=np.int64)
    for w in range(walks.shape[0]):
        size = _by_list_length(start, walks[w], nodes)
        n_touched, read = 0, 0
        most: Any = 0
        while read < size and most <= size - read:  # a tie may still go to a new path of a smaller number
            for p in range(start[nodes[read]], start[nodes[read] + 1]):
                s = seed[p]
                if counter[s] == 0:
                    touched[n_touched] = s
                    n_touched += 1
                counter[s] += 1
                most = max(most, counter[s])
            read += 1
        for t in range(n_touched):
            s = touched[t]
            held = np.int64(counter[s])
            counter[s] = 0
            for k in range(read, size):
                if held + size - k < most:
                    break
                held += _holds(seed, start[nodes[k]], start[nodes[k] + 1], s)
            if held > overlap[w] or (held == overlap[w] and s < best[w]):
                overlap[w] = held
                best[w] = s
            most = max(most, held)


@compiled
def _by_list_length(start: Any, walk: Any, nodes: Any) -> Any:
    """How many nodes a walk has; they are put into `nodes`, the one with the shortest list first."""
    size = 0
    for step in range(len(walk)):
        if walk[step] < 0:
            break
        node = np.int64(walk[step])
        at = size
        while at > 0 and start[nodes[at - 1] + 1] - start[nodes[at - 1]] > start[node + 1] - start[node]:
            nodes[at] = nodes[at - 1]
            at -= 1
        nodes[at] = node
        size += 1
    return size


@compiled
def _holds(seed: Any, low: Any, high: Any, wanted: Any) -> Any:
    """1 when the list seed[low:high] holds the path, else 0 (binary search)."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if seed[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return 1 if low < end and seed[low] == wanted else 0
