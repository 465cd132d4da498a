"""The document type of each conversation: nearest centroid to its free-form type."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import Fitted, stage
from udfs.models.clusters import assign
from udfs.models.embedder import embed
from udfs.settings import EmbedderSettings, TypeSettings


@stage(streams="meta_records")
def conversation_types(
    meta_records: DataFrame, document_types: Fitted, *, types: TypeSettings, embedder: EmbedderSettings
) -> DataFrame:
    """Label, similarity and drift of each conversation under the frozen types."""
    ordered = sorted(document_types, key=lambda row: row["type_index"])
    labels = F.array(*[F.lit(row["label"]) for row in ordered])
    text = F.trim(F.lower(F.col("document_type")[0]))
    placed = meta_records.withColumn("vector", embed(embedder, False)(text)).withColumn(
        "found", assign([row["centroid"] for row in ordered])("vector")
    )
    return placed.select(
        sql.derived_id("conversation_types", F.array("id")).alias("id"),
        F.array("id").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        "conversation",
        F.get(labels, F.col("found.cluster")).alias("document_type"),
        F.col("found.cluster").alias("type_index"),
        F.col("found.similarity").cast("double").alias("similarity"),
        (F.col("found.similarity") < types.drift_similarity).alias("drifted"),
        F.lit(ordered[0]["version"]).alias("type_version"),
    )
