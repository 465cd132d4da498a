"""Makes the batches of a forward pass: sequences of one padded length, up to a token budget.

It refuses to know what the sequences hold and what reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STEP = 8  # padded lengths are multiples of it; at most 7 tokens of a sequence are padding


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together: `indexes` into the caller's list, all padded to `length`."""

    indexes: tuple[int, ...]
    length: int


def plan_batches(lengths: Sequence[int], budget: int, window: int) -> list[Batch]:
    """Batches that cover every index once, longest first, with at most `budget` padded tokens each.

    A sequence is always padded to the same length, whatever else is in the call: the next multiple of STEP
    (no further than `window`). Padded length is the one thing in a batch that changes a float32 result on
    a CPU (measured: 1e-6 with other padding; bit for bit the same with other neighbours, batch sizes and
    numbers of threads), so vectors do not depend on the partitioning. Full sequences are kept apart from
    padded ones because attention takes another path when a mask hides nothing.
    """
    groups: dict[tuple[int, bool], list[int]] = {}
    for index, length in enumerate(lengths):
        padded = min(-(-length // STEP) * STEP, max(window, length))
        groups.setdefault((padded, padded == length), []).append(index)
    batches = []
    for (padded, _), indexes in sorted(groups.items(), reverse=True):
        rows = max(1, budget // padded)
        for first in range(0, len(indexes), rows):
            batches.append(Batch(tuple(indexes[first : first + rows]), padded))
    return batches
