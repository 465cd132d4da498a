"""Tombstones: what was forgotten, by hash, so that nothing brings it back.

Reads and writes the table `tombstones`; what has to go with a forgotten row is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.history import History
from jobs.runtime.tables import Tables

TABLE = "tombstones"
REASON = "forgotten"
EXECUTION = "forget"  # name under which a finished forgetting stands in `stage_runs`
FILES, WALKS, CALLS = "source_files", "walks", "llm_calls"
RECORDS = ("conversations", "documents", "imports")
# Of a row that comes back these stay: hashes and where it stood. All else may hold text and is dropped.
COMMON = frozenset(("id", "parent_ids", "reject_reason", "run_id", "recipe"))
PLACE = frozenset(("source_file", "path", "position", "content_hash", "setting", "document_type", "walk_index"))


@dataclass(frozen=True)
class Subject:
    """A row to be forgotten, and the id that was asked for."""

    table: str
    id: str
    asked: str


def is_open(tables: Tables, history: History) -> bool:
    """Whether the newest forgetting did not come to its end."""
    done = history.last(EXECUTION)
    return tables.exists(TABLE) and (done is None or done.inputs.get(TABLE) != tables.version(TABLE))


def bury(tables: Tables, subjects: DataFrame, stale: Mapping[str, int]) -> None:
    """Write tombstones for `subjects` [table, id, asked] in one commit: from here on the forgetting is decided."""
    marked = F.create_map(*[F.lit(part) for pair in sorted(stale.items()) for part in pair])
    rows = subjects.select(
        sql.row_id(TABLE, F.lit(tables.run_id), "table", "id").alias("id"),
        F.array("id").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        F.col("table").alias("subject_table"),
        F.col("id").alias("subject"),
        "asked",
        F.lit(datetime.now(UTC)).cast("timestamp").alias("forgotten_at"),
        marked.cast("map<string,int>").alias("stale"),
    )
    frame = tables.conform(rows, TABLE, {"run_id": tables.run_id, "recipe": ""})
    tables.append(frame, TABLE, {"stage": EXECUTION})


def bury_calls(tables: Tables, run: str, keys: DataFrame) -> None:
    """Write tombstones for requests [key] whose calls go with the forgetting of `run`, so that none is taken in again.

    Repeated, it writes nothing twice.
    """
    rows = keys.select(
        sql.row_id(TABLE, F.lit(run), F.lit(CALLS), "key").alias("id"),
        F.array("key").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        F.lit(CALLS).alias("subject_table"),
        F.col("key").alias("subject"),
        F.col("key").alias("asked"),
        F.lit(datetime.now(UTC)).cast("timestamp").alias("forgotten_at"),
        F.lit(None).cast("map<string,int>").alias("stale"),
    ).join(tables.read(TABLE).select("id"), "id", "left_anti")
    frame = tables.conform(rows, TABLE, {"run_id": run, "recipe": ""})
    tables.append(frame, TABLE, {"stage": EXECUTION})


def without_forgotten_calls(tables: Tables, calls: DataFrame) -> DataFrame:
    """Calls of a ledger whose request has no tombstone here; a correction turn goes with what it corrects."""
    stones = tables.read(TABLE).where(F.col("subject_table") == CALLS).select(F.col("subject").alias("root")).distinct()
    rooted = calls.withColumn("root", F.coalesce("parent_key", "key"))
    return rooted.join(stones, "root", "left_anti").drop("root")


def newest(tables: Tables) -> tuple[str, DataFrame]:
    """(run, its tombstones) of the newest forgetting."""
    stones = tables.read(TABLE)
    run: str = stones.agg(F.max_by("run_id", "forgotten_at")).collect()[0][0]
    return run, stones.where(F.col("run_id") == run)


def found(tables: Tables, wanted: str) -> str | None:
    """When and by which run the thing with this id (or beginning so) was forgotten."""
    if not tables.exists(TABLE):
        return None
    mine = F.col("subject").startswith(wanted) | F.col("asked").startswith(wanted)
    for row in tables.read(TABLE).where(mine).orderBy("forgotten_at").limit(1).collect():
        return f"on {row['forgotten_at']:%Y-%m-%d} in run {row['run_id']}"
    return None


def stale_tables(tables: Tables, history: History) -> Iterator[str]:
    """A sentence for each fitted table that still rests on something forgotten."""
    if not tables.exists(TABLE):
        return
    each = tables.read(TABLE).select("run_id", F.explode("stale"))
    told = each.groupBy("key", "value").agg(F.min("run_id").alias("run"), F.count_distinct("run_id").alias("runs"))
    for row in told.orderBy("key").collect():
        if history.epoch(row["key"]) == row["value"]:
            who = f"run {row['run']}" + (f" and {row['runs'] - 1} more" if row["runs"] > 1 else "")
            yield (
                f"{row['key']} is stale: it was made while rows were there that {who} forgot; "
                f"run with --refit {row['key']} to make it again without them"
            )


def reject_forgotten(tables: Tables, name: str, rows: DataFrame) -> DataFrame:
    """Rows of a batch whose id has a tombstone are rejected and emptied: no text is stored again."""
    if name not in (*RECORDS, WALKS) or not tables.exists(TABLE):
        return rows
    stones = tables.read(TABLE, rows.sparkSession).where(F.col("subject_table") == name)
    gone = stones.select(F.col("subject").alias("id")).distinct().withColumn("_gone", F.lit(True))
    emptied = {
        name: F.when(F.col("_gone").isNull(), F.col(name)) for name in rows.columns if name not in PLACE | COMMON
    }
    reason = F.when(F.col("_gone"), F.lit(REASON)).otherwise(F.col("reject_reason"))
    marked = rows.join(gone, "id", "left").withColumns({**emptied, "reject_reason": reason})
    return marked.select(*rows.columns)
