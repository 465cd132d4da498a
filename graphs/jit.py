"""Compiles numeric loops with numba; says nothing about what the loops compute.

Machine code is cached beside the source where that is possible, because Spark starts Python workers anew and each
would otherwise compile again; from a zip or a read-only install the loops are compiled once per process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """The same function as machine code, exact IEEE arithmetic (no fastmath), releasing the GIL."""
    try:
        return cast(Loop, numba.njit(cache=True, nogil=True)(loop))
    except RuntimeError:  # numba found no writable place for its cache
        return cast(Loop, numba.njit(cache=False, nogil=True)(loop))
