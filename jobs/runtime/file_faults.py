"""Names the files of which something could not be read: those that are done with, and those that are tried again."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.summary import Summary
from udfs.readers.errors import LASTING, WAITS

MOST_NAMED = 1_000  # of the files that wait: a mount that is away may hold any number


def name_file_faults(summary: Summary, reasons: Mapping[str, int], ready: DataFrame, held: DataFrame) -> None:
    """Warn of the files among the rows of a batch: `ready` to be written, or `held` to wait.

    `reasons` counts the rows of the batch; where it names no file, no job is started.
    """
    if any(reason.startswith(LASTING) for reason in reasons):
        named = ready.where(F.col("reject_reason").startswith(LASTING)).select("reject_reason", "path")
        for row in named.collect():
            summary.warn(f"{row['path']}: {row['reject_reason']}; what could be read was kept")
    waiting = sum(count for reason, count in reasons.items() if reason.startswith(WAITS))
    if waiting:
        _name_waiting(summary, waiting, held.where(F.col("reject_reason").startswith(WAITS)))


def _name_waiting(summary: Summary, waiting: int, rows: DataFrame) -> None:
    detail = F.get_json_object("meta", "$.detail").alias("detail")
    for row in rows.select("path", "reject_reason", detail).orderBy("path").limit(MOST_NAMED).collect():
        reason = LASTING + row["reject_reason"].removeprefix(WAITS)
        summary.warn(
            f"{row['path']}: {reason} ({row['detail']}); what could be read was kept, and the file waits: every run "
            f"reads it again until it can be read, or is given up with `jobs/forget.py --source {row['path']}`"
        )
    if waiting > MOST_NAMED:
        summary.warn(f"{waiting - MOST_NAMED:,} more files could not be read and wait")
