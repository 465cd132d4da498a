"""Document vectors: mean of the last hidden state over evenly spaced chunks (WildLong, section 3.3)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import stage
from sql.frames import spread
from udfs.models.embedder import embed, embedder_identity
from udfs.settings import EmbedderSettings


@stage(streams="long_documents")
def document_features(long_documents: DataFrame, documents: DataFrame, *, embedder: EmbedderSettings) -> DataFrame:
    """One unit vector per long document; runs on the GPU where Spark gives the task one."""
    texts = documents.select(F.col("id").alias("document"), "text")
    rows = long_documents.select("id", "document", "n_tokens").join(texts, "document")
    return spread(rows, "document").select(  # long rows of one file would otherwise sit in one task
        sql.derived_id("document_features", F.array("id")).alias("id"),
        F.array("id").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        "document",
        embed(embedder, True)("text").alias("vector"),
        F.lit(embedder_identity(embedder)).alias("embedder"),
    )
