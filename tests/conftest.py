"""Fixtures shared by all rooms: one Spark session for each test process, temporary roots."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

os.environ["PYSPARK_PYTHON"] = sys.executable  # workers take `python3` from PATH otherwise
os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
os.environ["FAKE_KEY"] = "canary-key-7f3a91"  # workers inherit what was set before the JVM started
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one session of a process: the same builder and the same confs as a submitted job."""
    from jobs.runtime.session import build_session

    warehouse = tmp_path_factory.mktemp("warehouse")
    session = build_session(
        "longloom-tests",
        extra={
            "spark.sql.warehouse.dir": str(warehouse),
            "spark.driver.memory": "2g",
            "spark.checkpoint.dir": str(tmp_path_factory.mktemp("checkpoints")),
        },
    )
    yield session
    session.stop()


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A fresh storage root."""
    return str(tmp_path / "root")
