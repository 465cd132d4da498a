"""Finds the distinct numbers of an array; knows nothing of what they number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def distinct(numbers: Ints) -> Ints:
    """Each number once, ascending.

    By sorting. `numpy.unique` puts integers into a hash table when only the values are asked for, which took thirty
    times as long on three million (numpy 2.4, 5.8 s against 0.19 s).
    """
    ordered = np.sort(numbers)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
