"""Covers a graph of similar things by stars: a few centres, and everything else next to one of them.

It refuses to know what is similar. A chain a–b–c whose ends are far apart becomes a star around b, or two stars;
nothing is ever represented by something it is not similar to.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def cover(n: int, a: Ints, b: Ints, similarity: Floats) -> tuple[Ints, Floats]:
    """(centre, similarity to it) of each of `n` things, from their similar pairs (a, b).

    Centres are chosen one by one: the thing with most neighbours not yet covered, ties to the smallest number;
    then all its neighbours are covered. At the end each thing goes to the most similar centre next to it (ties to the
    smallest), a centre to itself with similarity 1.
    """
    centre = np.arange(n, dtype=np.int64)
    nearness = np.ones(n)
    is_centre = _centres(n, a, b)
    ends, others = np.concatenate([a, b]), np.concatenate([b, a])
    likeness = np.concatenate([similarity, similarity])
    useful = ~is_centre[ends] & is_centre[others]
    ends, others, likeness = ends[useful], others[useful], likeness[useful]
    order = np.lexsort((others, -likeness, ends))
    things, first = np.unique(ends[order], return_index=True)
    centre[things] = others[order][first]
    nearness[things] = likeness[order][first]
    return centre, nearness


def _centres(n: int, a: Ints, b: Ints) -> npt.NDArray[np.bool_]:
    """Greedy dominating set: every thing is a centre or next to one, and no two centres are neighbours."""
    ends, others = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.argsort(ends, kind="stable")
    neighbours = np.split(others[order], np.searchsorted(ends[order], np.arange(1, n)))
    uncovered = np.bincount(ends, minlength=n)  # neighbours still open
    is_open, is_centre = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    heap = [(-int(count), thing) for thing, count in enumerate(uncovered)]
    heapq.heapify(heap)
    while heap:
        count, thing = heapq.heappop(heap)
        if not is_open[thing]:
            continue
        if -count != uncovered[thing]:  # it lost neighbours since it was put here
            heapq.heappush(heap, (-int(uncovered[thing]), thing))
            continue
        is_centre[thing] = True
        star = np.concatenate([[thing], neighbours[thing][is_open[neighbours[thing]]]])
        is_open[star] = False
        for member in star:
            uncovered[neighbours[member]] -= 1
    return is_centre
