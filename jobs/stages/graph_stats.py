"""Figures of the graph of every (setting, document type)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from graphs.statistics import graph_statistics
from jobs.runtime.stage import stage


@stage(replaces=True)
def graph_stats(nodes: DataFrame, edges: DataFrame) -> DataFrame:
    """One row per (setting, type)."""
    return graph_statistics(nodes, edges).withColumns(
        {
            "id": sql.row_id("graph_stats", "setting", "document_type"),
            "parent_ids": F.array().cast("array<string>"),
            "reject_reason": F.lit(None).cast("string"),
        }
    )
