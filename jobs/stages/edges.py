"""Edges of the co-occurrence graphs: how many conversations hold two values (WildLong, section 3.2)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from graphs.cooccurrence import count_edges
from jobs.runtime.stage import stage


@stage(streams="seed_paths", counts="batch")
def edges(seed_paths: DataFrame) -> DataFrame:
    """Counts of this batch; the sum over batches is the graph."""
    return count_edges(seed_paths).select(
        sql.row_id("edges", "source", "target").alias("id"),
        F.array("source", "target").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        "setting",
        "document_type",
        "source",
        "target",
        "source_field",
        "target_field",
        "count",
    )
