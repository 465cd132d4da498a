"""A Python stage inside Spark against its own function in a bare loop: what the way through Spark costs.

Throughput is megabytes per CPU second, the JVM's and the workers' seconds added up, so a busy machine changes little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.benchmarks.processes import Meter
from tests.benchmarks.timing import say, size_mb

BATCH = 500  # rows, as infra/spark-defaults.conf sets it
FILES = 8


@dataclass(frozen=True)
class Case:
    """One Python stage: its plan in Spark and its function in a loop, both down to one number that must be equal."""

    share: float  # of the benchmark's megabytes; slow functions take less, so that each runs for minutes, not hours
    write: Callable[[Path, float], float]  # makes the input below a folder, returns its megabytes
    frame: Callable[[DataFrame], DataFrame]  # one row, one number
    loop: Callable[[Any], float]  # the same number of one batch, or of one file; they are summed
    grouped: bool = False  # a file is a group


def write_rows(folder: Path, rows: Iterator[dict[str, Any]]) -> float:
    """Rows dealt out to parquet files."""
    folder.mkdir(parents=True)
    writers: list[pq.ParquetWriter] = []
    size, number, batch = 0, 0, list[dict[str, Any]]()

    def flush() -> None:
        nonlocal number
        table = pa.Table.from_pylist(batch)
        if len(writers) <= number % FILES:
            writers.append(pq.ParquetWriter(folder / f"{number % FILES}.parquet", table.schema))
        writers[number % FILES].write_table(table)
        number += 1
        batch.clear()

    for row in rows:
        size += sum(map(size_of, row.values()))
        batch.append(row)
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    for writer in writers:
        writer.close()
    return size / 1e6


def size_of(value: Any) -> int:
    """Bytes of a text, a list of numbers or a number."""
    return len(value) if isinstance(value, str) else 4 * len(value) if isinstance(value, list) else 4


def compare(name: str, case: Case, spark: SparkSession, tmp_path: Path) -> None:
    """Run the stage cold, warm and as one task, and the loop; print their speeds."""
    megabytes = case.write(tmp_path / "data", size_mb(1_000) * case.share)
    warm_mb = case.write(tmp_path / "warm", min(megabytes / 10, 4.0))
    rows, first = (spark.read.parquet(str(tmp_path / folder)) for folder in ("data", "warm"))
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(BATCH))
    started = time.perf_counter()
    case.frame(first).collect()  # workers start, engines and models load
    cold = time.perf_counter() - started
    looped(case, tmp_path / "warm")
    started = time.perf_counter()
    (row,) = case.frame(rows).collect()
    wall = time.perf_counter() - started
    partitions = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "1")
    with Meter() as meter:
        (one,) = case.frame(rows.coalesce(1)).collect()  # like the loop: two tasks may share a core's units
    inside = meter.seconds
    spark.conf.set("spark.sql.shuffle.partitions", partitions)  # the next case's first two runs are on both cores
    cpu = time.process_time()
    alone = looped(case, tmp_path / "data")
    bare = time.process_time() - cpu
    assert row["n"] == pytest.approx(alone, rel=1e-6) and one["n"] == pytest.approx(alone, rel=1e-6)
    say(
        "Python stage",
        f"{name}, {megabytes:,.0f} MB: in Spark {megabytes / inside:.1f} MB per CPU second (JVM and worker, one task), "
        f"bare loop {megabytes / bare:.1f} ({bare / inside:.2f}x, reach 0.65x); "
        f"{megabytes / wall:.1f} MB/s on two cores warm, first {warm_mb:.1f} MB cold in {cold:.1f} s; same result",
    )


def looped(case: Case, folder: Path) -> float:
    """The bare function over the same batches, or groups."""
    total = 0.0
    for path in sorted(folder.glob("*.parquet")):
        if case.grouped:
            total += case.loop(pq.read_table(path, use_threads=False))
            continue
        for batch in pq.ParquetFile(path).iter_batches(BATCH, use_threads=False):
            total += case.loop(batch)
    return total
