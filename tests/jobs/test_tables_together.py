"""Stages run two at a time, and conversations and documents both write `sources`."""

from __future__ import annotations

import threading

import pytest
from pyspark.sql import SparkSession

import sql
from tests.roots import make_runner


@pytest.mark.spark
def test_two_threads_may_make_one_table(spark: SparkSession, root: str) -> None:
    tables, together, faults = make_runner(spark, root).tables, threading.Barrier(2), list[Exception]()
    columns = sql.columns("sources")

    def write(identity: str) -> None:
        row = {"id": identity, "parent_ids": [], "run_id": "r", "recipe": "x", "record_table": "documents"}
        frame = spark.createDataFrame([tuple(row.get(name) for name in columns.names)], columns)
        together.wait()
        try:
            tables.append(frame, "sources", {})
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert {row["id"] for row in tables.read("sources").collect()} == {"a", "b"}
