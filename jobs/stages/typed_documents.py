"""The document type of each long document, by the classifier."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import Fitted, stage
from udfs.models.forest import classify


@stage(streams="document_features")
def typed_documents(document_features: DataFrame, classifier: Fitted) -> DataFrame:
    """Label and share of trees; the classifier's version stands on every row."""
    (forest,) = classifier
    placed = document_features.withColumn("found", classify(bytes(forest["model"]))("vector"))
    return placed.select(
        sql.derived_id("typed_documents", F.array("id")).alias("id"),
        F.array("id").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
        "document",
        F.col("found.label").alias("document_type"),
        F.col("found.probability").cast("double").alias("probability"),
        F.lit(forest["version"]).alias("classifier_version"),
    )
