"""Whether two roots hold the same: ids, reasons and text alike, floats within 1e-5, sums of counts (design, section 3).

Left out is what tells runs apart: run ids, batch marks, epochs, Delta versions, ids of calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.runtime.ledger import CALL_COLUMNS
from jobs.runtime.stage import Stage
from udfs.alike import unlike_columns

COUNTED = frozenset({"nodes", "edges"})  # a row per batch and key; the sum is the count
MARKS = frozenset(CALL_COLUMNS) | {"run_id", "batch", "type_version", "nodes_version", "edges_version"}
MARKS_OF = {
    "document_types": frozenset({"version"}),
    "source_files": frozenset({"mtime_ns"}),  # a file that was only touched is the same file
}
SHOWN = 3  # ids named per table


@dataclass(frozen=True)
class Comparison:
    """How a table of one root compares with that of another."""

    table: str
    rows: int  # of the first
    faults: list[str]  # in words; empty when they are equal


def result_tables(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Every table that stages and the listing of inputs write; not the logs, which tell what happened."""
    return tuple(dict.fromkeys(["source_files", *(name for one in stages for name in (one.name, *one.also))]))


def compare(name: str, one: DataFrame, two: DataFrame) -> Comparison:
    """Rows by id and content hash; rows whose hashes differ are compared once more column by column."""
    mine, theirs = _content(name, one), _content(name, two)
    hashed = [rows.select("id", F.sha2(F.to_json("content"), 256).alias("hash")) for rows in (mine, theirs)]
    faults = [f"{count} ids more than once in {which}" for which, count in _repeated(hashed) if count]
    joined = hashed[0].alias("a").join(hashed[1].alias("b"), "id", "full_outer")
    here, there = F.col("a.hash").isNotNull(), F.col("b.hash").isNotNull()
    is_equal = F.col("a.hash") == F.col("b.hash")
    told = joined.select("id", here.alias("here"), there.alias("there"), is_equal.alias("same")).persist()
    try:
        faults += _named(told.where(~F.col("there")), "only in the first")
        faults += _named(told.where(~F.col("here")), "only in the second")
        faults += _unlike(mine, theirs, told.where(F.col("here") & F.col("there") & ~F.col("same")).select("id"))
        rows = told.where(F.col("here")).count()
    finally:
        told.unpersist()
    return Comparison(name, rows, faults)


def _content(name: str, frame: DataFrame) -> DataFrame:
    """[id, content]: everything a row says but its marks, as a struct of columns by name."""
    rows = frame.drop(*MARKS, *MARKS_OF.get(name, ()))
    if name in COUNTED:
        keys = [column for column in rows.columns if column not in ("count", "recipe")]
        sums = rows.groupBy(*keys).agg(
            F.sum("count").alias("count"), F.sort_array(F.collect_set("recipe")).alias("recipe")
        )
        rows = sums.where("count <> 0")
    return rows.select("id", F.struct(*sorted(rows.columns)).alias("content"))


def _repeated(hashed: Sequence[DataFrame]) -> list[tuple[str, int]]:
    """(which root, how many ids stand there more than once)."""
    return [
        (which, rows.groupBy("id").count().where("count > 1").count())
        for which, rows in zip(("the first", "the second"), hashed, strict=True)
    ]


def _unlike(mine: DataFrame, theirs: DataFrame, ids: DataFrame) -> list[str]:
    """Rows of one id that differ by more than the tolerance, by column."""
    if ids.isEmpty():
        return []
    pair: Column = F.to_json(F.struct(F.col("a.content").alias("one"), F.col("b.content").alias("two")))
    both = ids.join(mine.alias("a"), "id").join(theirs.alias("b"), "id")
    told = both.select("id", unlike_columns()(pair).alias("columns"))
    differing = told.select("id", F.explode("columns").alias("column"))
    rows = differing.groupBy("column").agg(F.count("*").alias("n"), F.min("id").alias("id")).orderBy("column").collect()
    return [f"{row['column']} differs in {row['n']} rows, among them {row['id'][:16]}" for row in rows]


def _named(rows: DataFrame, where: str) -> list[str]:
    count = rows.count()
    if not count:
        return []
    some = ", ".join(row["id"][:16] for row in rows.orderBy("id").limit(SHOWN).collect())
    return [f"{count} rows {where}: {some}"]
