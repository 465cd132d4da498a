"""Workers are forked from a process that has made the imports, and nothing but Spark's port stands on its stdout."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pyspark.sql import SparkSession

from udfs.worker_daemon import PRELOADED


def test_preloading_starts_no_interpreter_thread() -> None:
    code = (
        "import threading; from udfs.worker_daemon import preload; preload(); import sys, torch;"
        "print(threading.active_count(), torch.cuda.is_initialized(), 'sklearn.ensemble' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split() == ["1", "False", "True"]


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
