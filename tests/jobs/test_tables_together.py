"""Tables under two stages at a time, which both write `sources`, and the newest commit of a log."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.runtime.tables import MISSING, newest_commit
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


@pytest.mark.spark
def test_the_newest_commit_is_found_from_any_other(spark: SparkSession, tmp_path: Path) -> None:
    log = tmp_path / "_delta_log"
    log.mkdir()

    def newest(seen: int = MISSING) -> int:
        return newest_commit(spark, str(log), seen)

    assert newest() == newest(3) == MISSING
    for version in range(24):
        (log / f"{version:020}.json").write_text("{}")
        (log / f"{version:020}.crc").write_text("{}")
    assert newest() == newest(0) == newest(23) == newest(99) == 23
    (log / "_last_checkpoint").write_text(json.dumps({"version": 20, "size": 3}))
    for version in range(20):
        (log / f"{version:020}.json").unlink()  # as Delta drops them after a while
    assert newest() == newest(20) == newest(7) == 23
    for hint in ("{", "[]", json.dumps({"version": 77})):
        (log / "_last_checkpoint").write_text(hint)
        assert newest() == 23
