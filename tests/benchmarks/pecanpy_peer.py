"""PecanPy's weighted first-order walk, made to run on today's numpy and timed without its compilation."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from scipy.sparse import csr_matrix

# Names that numpy 2 dropped and an annotation package of PecanPy's still looks up; no algorithm uses them.
DROPPED = {
    "bool8": np.bool_,
    "object0": np.object_,
    "int0": np.intp,
    "uint0": np.uintp,
    "void0": np.void,
    "bytes0": np.bytes_,
    "str0": np.str_,
    "float_": np.float64,
    "complex_": np.complex128,
    "cfloat": np.complex128,
    "singlecomplex": np.complex64,
    "clongfloat": np.clongdouble,
    "longcomplex": np.clongdouble,
    "longfloat": np.longdouble,
    "string_": np.bytes_,
    "unicode_": np.str_,
}


class FirstOrderWalks:
    """`PreCompFirstOrder` on an undirected graph: alias tables made, loop compiled, one thread."""

    def __init__(self, names: list[str], source: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        for name, kind in DROPPED.items():
            if not hasattr(np, name):
                setattr(np, name, kind)
        from pecanpy.pecanpy import PreCompFirstOrder

        numba.set_num_threads(1)
        ends = (np.concatenate([source, target]), np.concatenate([target, source]))
        matrix = csr_matrix((np.concatenate([weight, weight]).astype(np.float32), ends), shape=(len(names), len(names)))
        self.walker: Any = PreCompFirstOrder(p=1, q=1, workers=1, verbose=False, random_state=1)
        self.walker.indptr, self.walker.indices = matrix.indptr.astype(np.uint32), matrix.indices.astype(np.uint32)
        self.walker.data = matrix.data
        self.walker.set_node_ids(names)
        self.walker.preprocess_transition_probs()
        self.rules = self.walker.get_has_nbrs(), self.walker.get_move_forward()  # its own call makes them anew
        self.numbers(np.zeros(1, np.uint32), 2)

    def numbers(self, starts: np.ndarray, nodes: int) -> np.ndarray:
        """The compiled loop alone: node numbers [walks, nodes], the walk's length behind them."""
        from numba_progress import ProgressBar

        with ProgressBar(total=len(starts), disable=True) as progress:
            return np.asarray(self.walker._random_walks(len(starts), nodes - 1, 1, starts, *self.rules, progress))

    def names(self, starts: np.ndarray, nodes: int) -> list[list[str]]:
        """What `simulate_walks` returns: the walks as node ids."""
        return [self.walker._map_walk(walk) for walk in self.numbers(starts, nodes)]
