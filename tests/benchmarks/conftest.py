"""One Spark session for all benchmarks: two cores, the optimising compiler on, as a peer on a cluster would have it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.benchmarks.timing import PINNED, machine, say

for name in PINNED:  # before any library that reads them is imported; Spark's workers inherit them
    os.environ[name] = "1"


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    say("machine", machine())


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session of a submitted job, but for the JVM's compiler: `make demo` turns it down for short runs."""
    from jobs.runtime.session import build_session

    session = build_session(
        "longloom-benchmarks",
        extra={
            "spark.master": "local[2]",
            "spark.driver.memory": "4g",
            "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -Dfile.encoding=UTF-8",
            "spark.sql.shuffle.partitions": "8",
            "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
            "spark.checkpoint.dir": str(tmp_path_factory.mktemp("checkpoints")),
        },
    )
    yield session
    session.stop()
