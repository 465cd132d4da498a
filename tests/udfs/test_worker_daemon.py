"""Workers are forked from a process that has made the imports, and nothing but Spark's port stands on its stdout."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from unittest.mock import MagicMock, patch

import pytest
from pyspark.serializers import read_int
from pyspark.sql import SparkSession

from udfs.worker_daemon import PRELOADED, quiet_at_the_end


def test_preloading_starts_no_interpreter_thread() -> None:
    code = (
        "import threading; from udfs.worker_daemon import preload; preload(); import sys, torch;"
        "print(threading.active_count(), torch.cuda.is_initialized(), 'sklearn.ensemble' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split() == ["1", "False", "True"]


def test_a_worker_whose_task_was_taken_away_says_nothing_and_takes_no_other() -> None:
    """pyspark's own entry point, on a connection that Spark has closed, in a worker that had reached its end."""
    from pyspark import daemon

    spark_side, worker_side = socket.socketpair()
    worker: Callable[..., int] = daemon.worker
    reads: Callable[..., int] = read_int
    with worker_side, patch.object(daemon, "worker_main", lambda read, write: reads(read)):
        spark_side.close()
        with pytest.raises(EOFError):
            worker(worker_side, True)
        assert quiet_at_the_end(worker)(worker_side, True) == 1
    assert "worker" in daemon.manager.__code__.co_names  # what it calls for each task, looked up by this name
    with pytest.raises(KeyError):
        quiet_at_the_end(MagicMock(side_effect=KeyError))()
    assert quiet_at_the_end(MagicMock(return_value=0))("socket", True) == 0


@pytest.mark.spark
def test_workers_find_the_imports_made(spark: SparkSession) -> None:
    """A worker forked from Spark's own daemon has none of the models' libraries before it asks for one."""

    def missing(_: object) -> list[str]:
        import sys

        return [name for name in PRELOADED if name not in sys.modules]

    assert spark.sparkContext.parallelize([0], 1).map(missing).collect() == [[]]


@pytest.mark.spark
def test_no_archive_of_sparks_is_read_in_every_task(spark: SparkSession) -> None:
    """Python reads the directory of every archive that it looks into again whenever a task begins."""

    def archives(_: object) -> list[str]:
        import sys
        import zipimport

        read = [path for path, by in sys.path_importer_cache.items() if isinstance(by, zipimport.zipimporter)]
        return read + [path for path in sys.path if path.endswith((".zip", ".jar")) and "pyspark" in path]

    assert spark.sparkContext.parallelize([0], 1).map(archives).collect() == [[]]
