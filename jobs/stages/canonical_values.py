"""What each field value counts as: free-form values are nearly all unique, so unmerged graphs only replay seeds."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from graphs.canonical import merge_values
from graphs.settings import CanonicalSettings
from graphs.values import INSTRUCTION, field_values
from jobs.runtime.stage import Shared, stage
from udfs.models.embedder import embed
from udfs.settings import EmbedderSettings


@stage(streams="conversation_types", counts="batch")
def canonical_values(
    conversation_types: DataFrame,
    meta_records: DataFrame,
    previous: DataFrame,
    *,
    canonical: CanonicalSettings,
    embedder: EmbedderSettings,
) -> Shared:
    """New (type, field, value) triples of the batch, each with the value it counts as."""
    key = ["document_type", "field", "value"]
    typed = conversation_types.select("conversation", "document_type").join(field_values(meta_records), "conversation")
    seen = typed.groupBy(*key).agg(F.min("meta_record").alias("meta_record"))
    fresh = seen.join(previous.select(*key), key, "left_anti")
    text = F.when(F.col("field") != INSTRUCTION, F.col("value"))
    return Shared(
        fresh.withColumn("vector", embed(embedder, False)(text)), lambda values: _merged(values, previous, canonical)
    )


def _merged(values: DataFrame, previous: DataFrame, canonical: CanonicalSettings) -> DataFrame:
    key = ["document_type", "field", "value"]
    merging, earlier = (rows.where(F.col("field") != INSTRUCTION) for rows in (values, previous))
    merged = merge_values(merging.select(*key, "vector"), earlier.select(*key, "canonical", "vector"), canonical)
    alone = values.where(F.col("field") == INSTRUCTION).select(
        *key, F.col("value").alias("canonical"), F.lit(1.0).alias("similarity")
    )
    mapped = merged.select(*key, "canonical", "similarity").unionByName(alone)
    return mapped.join(values, key).select(
        sql.row_id("canonical_values", *key).alias("id"),
        F.array("meta_record").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        *key,
        "canonical",
        "similarity",
        "vector",
    )
