"""What the driver's own Python does at the limits of the settings, in a process of its own: seconds and peak memory.

python -m tests.benchmarks.driver_fits types|classifier|inputs COUNT FOLDER
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy  # noqa: F401 (what is imported anyway is in place before the first look)
import sklearn.ensemble  # noqa: F401

from jobs.runtime.settings import InputSettings
from jobs.runtime.sources import find_inputs
from udfs.models.clusters import fit_clusters
from udfs.models.forest import train_forest
from udfs.models.vectors import matrix
from udfs.settings import ClassifierSettings, TypeSettings

DIMENSIONS, CENTRES, SPREAD = 384, 10, 0.5


def column(count: int) -> tuple[list[str], pa.ChunkedArray, list[int]]:
    """Ids, unit vectors about ten centres as a table of Spark's holds them, and the centres' numbers."""
    rng = np.random.default_rng(11)
    kinds = rng.integers(0, CENTRES, count)
    vectors = rng.normal(size=(CENTRES, DIMENSIONS))[kinds] + rng.normal(scale=SPREAD, size=(count, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    offsets = np.arange(0, (count + 1) * DIMENSIONS, DIMENSIONS, dtype=np.int32)
    held = pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.astype(np.float32).ravel()))
    return [f"{number:064x}" for number in range(count)], pa.chunked_array([held]), kinds.tolist()


def types(count: int, folder: Path) -> Callable[[], object]:
    ids, held, _ = column(count)
    settings = TypeSettings()
    return lambda: fit_clusters(ids, matrix(held), settings.k, settings.seed)


def classifier(count: int, folder: Path) -> Callable[[], object]:
    ids, held, kinds = column(count)
    labels = [f"type {kind}" for kind in kinds]
    return lambda: train_forest(ids, matrix(held), labels, ClassifierSettings())


def inputs(count: int, folder: Path) -> Callable[[], object]:
    for number in range(count):
        (folder / f"{number:06d}.jsonl").write_bytes(b"{}\n")
    given = InputSettings(conversations=(str(folder),), documents=(str(folder),))
    return lambda: find_inputs(given)


def main(what: str, count: int, folder: Path) -> None:
    run = {"types": types, "classifier": classifier, "inputs": inputs}[what](count, folder)
    before, began = peak(), time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "before": before, "peak": peak()}))


def peak() -> float:
    """The most memory that this process ever had resident, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
