"""Nodes of the co-occurrence graphs: how many conversations hold a value (WildLong, section 3.2)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphs.cooccurrence import count_nodes
from jobs.runtime.stage import stage


@stage(streams="seed_paths", counts="batch")
def nodes(seed_paths: DataFrame) -> DataFrame:
    """Counts of this batch; the sum over batches is the graph."""
    return count_nodes(seed_paths).select(
        F.col("node").alias("id"),  # the hash of setting, type, field and value
        F.array().cast("array<string>").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        "node",
        "setting",
        "document_type",
        "field",
        "value",
        "count",
    )
