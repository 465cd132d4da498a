"""Frame-to-frame steps that are not told by the stages which use them."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sql.frames import spread


@pytest.mark.spark
@pytest.mark.parametrize(("stated", "most"), [("16", 16), ("1", 2)])
def test_few_bytes_are_spread_over_the_tasks_all_the_same(spark: SparkSession, stated: str, most: int) -> None:
    """As clusters are set by default, where Spark packs what a shuffle moves into tasks of a megabyte at least."""
    session = spark.newSession()
    session.conf.set("spark.sql.adaptive.enabled", "true")
    session.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "true")
    session.conf.set("spark.sql.shuffle.partitions", stated)
    files = session.createDataFrame([(f"file {number}",) for number in range(200)], "path string")
    tasks = spread(files, "path").select(F.spark_partition_id().alias("task")).distinct().collect()
    assert len(tasks) == max(most, session.sparkContext.defaultParallelism)
