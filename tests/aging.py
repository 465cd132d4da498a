"""Roots of long ago: everything in them is made older than it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pyspark.sql import SparkSession

HAPPENED_AT = re.compile(r'("(?:deletionTimestamp|createdTime)":)(\d+)')  # in a Delta log


def grow_older(spark: SparkSession, root: str, hours: int) -> None:
    """Everything in a root happened so much earlier."""
    for path in Path(root).rglob("*"):
        if path.suffix == ".crc":
            path.unlink()  # the checksum of a log file that is written anew below
        elif path.is_file():
            then = path.stat().st_mtime - hours * 3600
            if path.parent.name == "_delta_log" and path.suffix == ".json":
                text = path.read_text(encoding="utf-8")
                path.write_text(
                    HAPPENED_AT.sub(lambda m: f"{m[1]}{int(m[2]) - hours * 3_600_000}", text), encoding="utf-8"
                )
            os.utime(path, (then, then))
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
