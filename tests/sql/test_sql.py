"""SQL files: every table has columns, every check has a head, values are written safely."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

import sql

COMMON = ["id", "parent_ids", "reject_reason", "run_id", "recipe"]


@pytest.mark.spark
def test_every_table_begins_with_the_common_columns(spark: SparkSession) -> None:
    assert len(sql.tables()) >= 25
    for table in sql.tables():
        columns = sql.columns(table)
        assert columns.names[:5] == COMMON, table
        assert all(field.metadata.get("comment") for field in columns.fields), table


def test_every_check_has_a_level_and_a_sentence() -> None:
    found = [check for table in sql.tables() for check in sql.checks(table)]
    assert len(found) >= 10
    assert all(check.message and "{rows}" in check.query for check in found)


@pytest.mark.spark
def test_checks_find_what_they_are_for(spark: SparkSession) -> None:
    edges = spark.createDataFrame(
        [("a", "f", "f", 1), ("b", "f", "g", 0), ("c", "f", "g", 2)],
        "id string, source_field string, target_field string, count bigint",
    )
    failed = {check.message: count for check, count in sql.failed_checks("edges", edges)}
    assert failed == {"an edge joins two values of one field": 1, "a count of nothing": 1}


def test_values_are_quoted() -> None:
    assert (
        sql.bound("x = :name AND y::int = :n", {"name": "it's \\ :n", "n": 3}) == "x = 'it\\'s \\\\ :n' AND y::int = 3"
    )
    assert sql.bound("WHERE :near", {"near": False}) == "WHERE false"


@pytest.mark.spark
def test_row_ids_are_stable(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("a", "b", None)], "x string, y string, z string")
    row = frame.select(
        sql.row_id("t", "x", "y").alias("one"), sql.row_id("t", "x", "y", "z").alias("two"),
        sql.row_id("u", "x", "y").alias("other"),
    ).collect()[0]  # fmt: skip
    import hashlib

    assert row["one"] == hashlib.sha256(b"t\x1fa\x1fb").hexdigest()
    assert len({row["one"], row["two"], row["other"]}) == 3
