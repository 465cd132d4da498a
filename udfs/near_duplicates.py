"""Finds for each text that shares a band with others the first earlier one that is alike.

It reads the members of each band in order and remembers a bounded number of them, so that work grows with the members
and not with their pairs. It refuses to know what becomes of a text that has found another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.settings import MinhashSettings

REMEMBERED = 1_000  # texts of each kind and band; a band of no more members is searched completely
STEP = 8  # most texts find the first one remembered; each further look takes in so many times as many

U32 = npt.NDArray[np.uint32]
Batches = Iterator[pa.RecordBatch]
Members = Callable[[Batches], Batches]
FOUND = pa.schema([("id", pa.string()), ("other", pa.string()), ("other_fresh", pa.bool_())])


def first_alike(settings: MinhashSettings, remembered: int = REMEMBERED) -> Members:
    """A function for `DataFrame.mapInArrow`: (band, fresh, id, signature) in, (id, other, other_fresh) out.

    The members of a band must come together, earlier ones first. `other` is the first earlier member, of those
    remembered, whose signature has at least `threshold` of its positions in common.
    """
    # The threshold as it is written: as a float, 0.56 of 100 positions would be more than 56 of them.
    needed = math.ceil(Decimal(repr(settings.threshold)) * settings.permutations)

    def search(batches: Batches) -> Batches:
        band: int | None = None
        met = Met(needed, remembered, settings.permutations)
        for batch in batches:
            found: list[tuple[str, str, bool]] = []
            flat = np.asarray(batch.column("signature").flatten()).astype(np.uint32)
            signatures = flat.reshape(batch.num_rows, settings.permutations)
            keys, fresh, ids = (batch.column(name).to_pylist() for name in ("band", "fresh", "id"))
            for row, key in enumerate(keys):
                if key != band:
                    band, met = key, Met(needed, remembered, settings.permutations)
                other = met.meet(ids[row], fresh[row], signatures[row])
                if other is not None:
                    found.append((ids[row], *other))
            columns = zip(*found, strict=True) if found else ((), (), ())
            yield pa.RecordBatch.from_arrays(
                [pa.array(column, kind.type) for column, kind in zip(columns, FOUND, strict=True)], schema=FOUND
            )

    return search


@dataclass
class Met:
    """The members of one band that later ones are compared with, in order of arrival.

    These are the first `most` of earlier batches, the first `most` of this one, and after those the first `most`
    that were like nobody remembered: one of each group of texts, however many the first group has.
    """

    needed: int
    most: int
    positions: int
    names: list[tuple[str, bool]] = field(default_factory=list)
    earlier: int = 0
    fresh: int = 0
    alone: int = 0
    compared: int = 0
    signatures: U32 = field(init=False)

    def __post_init__(self) -> None:
        self.signatures = np.empty((STEP, self.positions), np.uint32)

    def meet(self, name: str, fresh: bool, signature: U32) -> tuple[str, bool] | None:
        """The first one like it, for a text of this batch; it is remembered itself where later ones may need it."""
        if not fresh:
            if self.earlier < self.most:
                self.earlier += 1
                self._remember(name, fresh, signature)
            return None
        found, is_equal = self._first_alike(signature)
        if is_equal:  # who is like this text is like the one it found
            return found
        if self.fresh < self.most:
            self.fresh += 1
            self._remember(name, fresh, signature)
        elif found is None and self.alone < self.most:
            self.alone += 1
            self._remember(name, fresh, signature)
        return found

    def _first_alike(self, signature: U32) -> tuple[tuple[str, bool] | None, bool]:
        start, width = 0, 1
        while start < len(self.names):
            end = min(start + width, len(self.names))
            self.compared += end - start
            common = (self.signatures[start:end] == signature).sum(axis=1)
            alike = np.flatnonzero(common >= self.needed)
            if len(alike):
                return self.names[start + alike[0]], bool(common[alike[0]] == self.positions)
            start, width = end, width * STEP
        return None, False

    def _remember(self, name: str, fresh: bool, signature: U32) -> None:
        size = len(self.names)
        if size == len(self.signatures):
            self.signatures = np.concatenate([self.signatures, np.empty_like(self.signatures)])
        self.signatures[size] = signature
        self.names.append((name, fresh))
