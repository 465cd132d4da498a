"""Frame-to-frame steps that several stages share: first reasons, first sightings, duplicates.

They are plans and nothing else; no table is read and no job is started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

import sql

Members = Callable[[Any], Any]  # for `mapInArrow`: record batches in, record batches out
FOUND = "id string, other string, other_fresh boolean"  # a row, and the first one like it in one of its bands


def first_reason(rules: Sequence[tuple[Column, str | Column]]) -> Column:
    """The code of the first rule whose condition holds; null when none does."""
    codes = [F.when(broken, F.lit(code) if isinstance(code, str) else code) for broken, code in rules]
    return F.coalesce(*codes, F.lit(None).cast("string"))


def first_sightings(records: DataFrame) -> DataFrame:
    """One row per id: the sighting of smallest path, then position."""
    order = Window.partitionBy("id").orderBy("path", "position")
    return records.withColumn("_n", F.row_number().over(order)).where("_n = 1").drop("_n")


def sightings(records: DataFrame, table: str) -> DataFrame:
    """Rows of `sources` for every record read, repeated ones included; a row that is to wait is none."""
    waits = F.coalesce(F.col("reject_reason").startswith("defer:"), F.lit(False))
    return (
        records.where(~waits)
        .select(
            sql.row_id("sources", "source_file", "position", "id").alias("id"),
            F.array("source_file").alias("parent_ids"),
            "reject_reason",
            F.lit(table).alias("record_table"),
            F.col("id").alias("record"),
            "path",
            "position",
        )
        .dropDuplicates(["id"])
    )


def source_records(read: DataFrame, table: str) -> DataFrame:
    """Reader output with the id and parent of a source row."""
    return read.withColumns({"id": sql.row_id(table, "content_hash"), "parent_ids": F.array("source_file")})


def reject_duplicates(rows: DataFrame, previous: DataFrame, first_alike: Members | None) -> DataFrame:
    """Add the reason of exact and near duplicates to kept rows (see sql/near_duplicates).

    Both frames need id, duplicate_key, signature, bands; rows with a reason already are not compared.
    `first_alike` searches the rows of sql/band_members; without it only exact duplicates are told.
    """
    columns = ["id", "duplicate_key", "signature", "bands"]
    compared = rows.where(F.col("reject_reason").isNull()).select(*columns)
    earlier = previous.select(*columns)
    if first_alike is None:
        found = rows.sparkSession.createDataFrame([], FOUND)
    else:
        members = sql.run("band_members", rows=compared, previous=earlier)
        found = members.mapInArrow(cast(Any, first_alike), FOUND)
    twins = sql.run("near_duplicates", rows=compared, previous=earlier, found=found)
    reason = F.coalesce("reject_reason", "duplicate_reason")
    return rows.join(twins, "id", "left").withColumn("reject_reason", reason).drop("duplicate_reason")


def spread(rows: DataFrame, *columns: str) -> DataFrame:
    """The rows over as many tasks as the cluster runs, by these columns, however few bytes they have.

    The number is given because Spark packs a shuffle of few bytes into one task where it may choose: files are named
    by few bytes, and hold many.
    """
    session = rows.sparkSession
    stated = str(session.conf.get("spark.sql.shuffle.partitions"))  # "auto" on some platforms
    count = max(session.sparkContext.defaultParallelism, int(stated) if stated.isdigit() else 0)
    return rows.repartition(count, *columns)


def duplicate_key(text: Column) -> Column:
    """sha256 of a text without regard to case and spacing."""
    return F.sha2(F.trim(F.regexp_replace(F.lower(text), r"\s+", " ")), 256)
