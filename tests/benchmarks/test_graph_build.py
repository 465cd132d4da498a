"""Graph build: conversations shuffled and pairs counted in sorted arrays, against pairs shuffled by plain Spark."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from graphs.cooccurrence import count_edges
from graphs.values import GRAPH_FIELDS
from jobs.stages.edges import edges
from tests.benchmarks.synthetic import held_values
from tests.benchmarks.timing import Timed, interleaved, ratio, say, scaled

TYPES = 10
KEYS = ("document_type", "source", "target")

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def write_paths(folder: Path, conversations: int, seed: int = 0) -> str:
    """Seed paths as the stage reads them, in four parquet files."""
    conversation, field, value = held_values(conversations, seed)
    key = (conversation % TYPES) << 56 | field << 48 | value
    distinct, node = np.unique(key, return_inverse=True)
    ids = pa.array([hashlib.sha256(k.tobytes()).hexdigest()[:32] for k in distinct], pa.string())
    held = pa.StructArray.from_arrays(
        [
            pa.array(GRAPH_FIELDS, pa.string()).take(pa.array(field)),
            pa.array(value).cast(pa.string()),
            ids.take(pa.array(node)),
        ],
        names=["field", "value", "node"],
    )
    starts = np.searchsorted(conversation, np.arange(conversations + 1)).astype(np.int32)
    table = pa.table(
        {
            "id": [hashlib.sha256(f"{seed}/{c}".encode()).hexdigest() for c in range(conversations)],
            "setting": pa.repeat("single", conversations),
            "document_type": [f"type {c % TYPES}" for c in range(conversations)],
            "conversation": [f"{seed}/{c}" for c in range(conversations)],
            "nodes": pa.ListArray.from_arrays(pa.array(starts), held),
        }
    )
    folder.mkdir(parents=True)
    step = -(-conversations // 4)
    for part in range(4):
        pq.write_table(table.slice(part * step, step), folder / f"{part}.parquet")
    return str(folder)


def pairs_grouped_by_hash(paths: DataFrame) -> DataFrame:
    """The plain way: every pair of a conversation is a row, grouped by 64-bit hashes of its two nodes."""
    hashed = F.transform(
        F.array_distinct("nodes"), lambda n: F.struct(n["field"].alias("field"), F.xxhash64(n["node"]).alias("node"))
    )
    once = paths.select("document_type", hashed.alias("nodes"))
    first = once.select("document_type", "nodes", F.explode("nodes").alias("a"))
    pairs = first.select("document_type", "a", F.explode("nodes").alias("b")).where("a.field < b.field")
    return pairs.groupBy("document_type", F.col("a.node").alias("source"), F.col("b.node").alias("target")).count()


def pairs_grouped_by_node(paths: DataFrame) -> DataFrame:
    """The same with every column of the edge table, which hashes cannot give back."""
    first = paths.select("setting", "document_type", "nodes", F.explode(F.array_distinct("nodes")).alias("a"))
    pairs = first.select("setting", "document_type", "a", F.explode(F.array_distinct("nodes")).alias("b"))
    keys = [
        F.col(f"{side}.{part}").alias(name + ending)
        for side, name in (("a", "source"), ("b", "target"))
        for part, ending in (("node", ""), ("field", "_field"))
    ]
    return pairs.where("a.field < b.field").groupBy("setting", "document_type", *keys).count()


def drained(frame: DataFrame) -> None:
    """Compute every column of every row and keep nothing."""
    frame.write.format("noop").mode("overwrite").save()


def fingerprint(frame: DataFrame) -> tuple[int, int, int]:
    """Rows, sum of counts, and a sum of row hashes: equal for equal tables in any order."""
    row = frame.agg(F.count("*"), F.sum("count"), F.sum(F.xxhash64(*KEYS, "count").cast("decimal(38,0)"))).collect()[0]
    return int(row[0]), int(row[1]), int(row[2])


def test_build(spark: SparkSession, tmp_path: Path) -> None:
    conversations = scaled(200_000)
    paths = spark.read.parquet(write_paths(tmp_path / "paths", conversations))
    ours = count_edges(paths)
    found = interleaved(
        {
            "hashed": lambda: drained(pairs_grouped_by_hash(paths)),
            "ours": lambda: drained(ours),
            "named": lambda: drained(pairs_grouped_by_node(paths)),
        }
    )
    hashes = [F.xxhash64(name).alias(name) for name in ("source", "target")]
    theirs = fingerprint(pairs_grouped_by_hash(paths))
    assert fingerprint(ours.select("document_type", *hashes, "count")) == theirs
    assert fingerprint(ours) == fingerprint(pairs_grouped_by_node(paths))
    say(
        "graph build",
        f"{conversations:,} conversations, {theirs[1]:,} pairs, {theirs[0]:,} edges: "
        f"{against(found, 'hashed')}; {against(found, 'named')}; tables equal row for row",
    )


def against(found: dict[str, Timed], peer: str) -> str:
    """The figures of one peer, cold and warm."""
    ours, theirs = found["ours"], found[peer]
    return (
        f"longloom {ours.cold:.1f} s cold {ours.warm:.1f} warm, groupBy on {peer} pairs {theirs.cold:.1f} and "
        f"{theirs.warm:.1f} ({ratio(theirs.cold, ours.cold):.1f}x cold, reach 2.5x; "
        f"{ratio(theirs.warm, ours.warm):.1f}x warm, reach 5x)"
    )


def test_append(spark: SparkSession, tmp_path: Path) -> None:
    """One per cent more: bytes written and time taken, as the stage writes them."""
    conversations = scaled(200_000)
    whole = spark.read.parquet(write_paths(tmp_path / "all", conversations))
    more = spark.read.parquet(write_paths(tmp_path / "more", max(conversations // 100, 1), seed=1))
    target = tmp_path / "edges"

    def append(paths: DataFrame) -> None:
        edges.function(paths).write.format("delta").mode("append").save(str(target))  # type: ignore[union-attr]

    append(whole.limit(100))  # the table is there, the workers are warm
    before = size(target)
    rebuilt = interleaved({"rebuild": lambda: append(whole)}, rounds=1)["rebuild"]
    full = size(target) - before
    small = interleaved({"empty": lambda: append(whole.where("false")), "more": lambda: append(more)})
    added = (size(target) - before - full) / 3
    rows = spark.read.format("delta").load(str(target))
    assert (
        rows.count()
        == edges.function(whole.limit(100)).count() + edges.function(whole).count() + 3 * edges.function(more).count()
    )
    above = small["more"].warm - small["empty"].warm
    say(
        "graph append",
        f"1 % of {conversations:,} conversations: {added / full:.2%} of a rebuild's {full / 1e6:,.0f} MB "
        f"(reach 1.5 %), "
        f"{above / rebuilt.cold:.1%} of its {rebuilt.cold:.1f} s above an empty batch's {small['empty'].warm:.1f} s "
        "(reach 5 %)",
    )


def size(folder: Path) -> int:
    """Bytes of the data files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))
