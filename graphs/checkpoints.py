"""Settles a frame, so that what it was computed from can be let go; knows nothing of what is in it."""

from __future__ import annotations

import tempfile

from pyspark.sql import DataFrame, SparkSession


class NoCheckpointDirectory(RuntimeError):
    """A cluster session without a place that all its executors can reach for intermediate results."""


def checkpointed(frame: DataFrame) -> DataFrame:
    """The same rows, computed once and now, and kept in the session's checkpoint directory.

    Raises NoCheckpointDirectory on a cluster that has none.
    """
    ensure_directory(frame.sparkSession)
    return frame.checkpoint(eager=True)


def ensure_directory(spark: SparkSession) -> None:
    """On one machine a temporary folder will do; a cluster must name a shared one."""
    context = spark.sparkContext
    if context.getCheckpointDir() is not None:
        return
    named = spark.conf.get("spark.checkpoint.dir", None)
    if named is None and not str(context.master).startswith("local"):
        raise NoCheckpointDirectory(
            "Graph algorithms found no checkpoint directory in the Spark session. "
            "Set spark.checkpoint.dir to a folder on storage that all executors reach."
        )
    context.setCheckpointDir(named or tempfile.mkdtemp(prefix="longloom-checkpoints-"))
