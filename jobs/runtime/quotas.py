"""How much is asked for: samples of each document type, in the conversations' mix and within supply; labels.

Pure arithmetic; the written rule of redistribution lives here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

MOST_LABELS = 2  # times `classifier.labels`, rejected ones included, that are asked for at all


def labels_wanted(labels: int, asked: int, kept: int) -> int:
    """How many further labels to ask for, of `labels` in all, when `asked` were asked for and `kept` were had.

    A label that could not be had is none: another one is asked for in its place, up to a bound.
    """
    return max(0, min(labels - kept, MOST_LABELS * labels - asked))


def allocate(target: int, shares: Mapping[str, float], capacity: Mapping[str, int]) -> dict[str, int]:
    """Quota per type: largest remainder of `target` by `shares`, none above its `capacity`.

    What a type cannot take is given to the types that still can, again by their shares, until the target
    is met or all supply is used. Types of share 0 get nothing while any other has supply, then by name.
    Ties of remainders go to the larger share, then to the smaller name.
    """
    quota = dict.fromkeys(sorted(shares), 0)
    left = target
    while left > 0:
        open_types = [name for name in quota if quota[name] < capacity.get(name, 0)]
        if not open_types:
            break
        sharing = [name for name in open_types if shares[name] > 0] or open_types
        given = _largest_remainder(left, {name: shares[name] for name in sharing})
        for name, count in given.items():
            taken = min(count, capacity[name] - quota[name])
            quota[name] += taken
            left -= taken
    return quota


def shortages(target: int, shares: Mapping[str, float], quota: Mapping[str, int]) -> dict[str, int]:
    """How far each type stays below what the mix alone would have given it (only positive entries)."""
    ideal = _largest_remainder(target, shares)
    return {name: ideal[name] - quota.get(name, 0) for name in sorted(ideal) if ideal[name] > quota.get(name, 0)}


def mix_distance(shares: Mapping[str, float], counts: Mapping[str, int]) -> float:
    """Jensen–Shannon distance (base 2, from 0 for the same mix to 1) of `counts` from `shares`."""
    total, weight = sum(counts.values()), sum(shares.values())
    if not total or not weight:
        return 0.0
    p = {name: shares.get(name, 0.0) / weight for name in shares.keys() | counts.keys()}
    q = {name: counts.get(name, 0) / total for name in p}
    divergence = 0.0
    for name in sorted(p):
        middle = (p[name] + q[name]) / 2
        for value in (p[name], q[name]):
            if value:
                divergence += value * math.log2(value / middle) / 2
    return math.sqrt(max(0.0, divergence))


def _largest_remainder(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    weight = sum(shares.values())
    exact = {name: total * (share / weight if weight else 1 / len(shares)) for name, share in shares.items()}
    given = {name: int(value) for name, value in exact.items()}
    order = sorted(shares, key=lambda name: (given[name] - exact[name], -shares[name], name))
    for name in order[: total - sum(given.values())]:
        given[name] += 1
    return given
