"""Walks over distinct fields, new combinations of what conversations held (WildLong, Eq. 1)."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from graphs.settings import WalkSettings
from graphs.walks import sample_walks
from jobs.runtime.stage import stage


@stage(tops_up="nodes")
def walks(
    nodes: DataFrame,
    edges: DataFrame,
    seed_paths: DataFrame,
    *,
    walks: WalkSettings,
    seed: int,
    wanted: DataFrame,
    versions: Mapping[str, int],
) -> DataFrame:
    """The next walks of each (setting, type), with the seed path nearest to each."""
    drawn = sample_walks(nodes, edges, seed_paths, wanted, walks, seed)
    place = F.concat_ws("/", "setting", "document_type", F.col("walk_index").cast("string"))
    parents = F.array_compact(F.concat(F.array("nearest_seed_path"), F.col("nodes.node")))
    return drawn.withColumn("parent_ids", parents).select(
        sql.derived_id("walks", F.col("parent_ids"), place).alias("id"),
        "parent_ids",
        F.col("reason").alias("reject_reason"),
        "setting",
        "document_type",
        "walk_index",
        "nodes",
        "redraws",
        F.lit(seed).cast("bigint").alias("seed"),
        F.lit(versions["nodes"]).cast("bigint").alias("nodes_version"),
        F.lit(versions["edges"]).cast("bigint").alias("edges_version"),
        "nearest_seed_path",
        "overlap",
        "novel",
    )
