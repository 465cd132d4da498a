"""Documents annotated by the teacher with one of the types: what the classifier learns from (WildLong, 3.3)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import AllRows, Fitted, llm_stage
from udfs.llm.parse import reply_reader
from udfs.settings import MetaSettings

TASK = "document_label"


def ask(
    document_features: DataFrame,
    documents: DataFrame,
    document_types: Fitted,
    previous: AllRows,
    *,
    meta: MetaSettings,
    wanted: DataFrame,
    seed: int,
) -> DataFrame:
    """The next documents in seeded order, as many as `wanted` says, each with the closed set of labels."""
    labels = [row["label"] for row in sorted(document_types, key=lambda row: row["type_index"])]
    waiting = document_features.select("id", "document").join(previous.select("document"), "document", "left_anti")
    order = F.sha2(F.concat_ws(":", F.lit(seed), "document"), 256)
    texts = documents.select(F.col("id").alias("document"), F.substring("text", 1, meta.label_chars).alias("text"))
    limit = wanted.select(F.col("count").alias("wanted"))
    placed = waiting.withColumn("order", order).crossJoin(F.broadcast(limit))
    chosen = placed.withColumn("place", F.expr("row_number() OVER (ORDER BY order, document)")).where("place <= wanted")
    variables = F.struct("text", F.array(*[F.lit(label) for label in labels]).alias("labels"))
    return chosen.join(texts, "document").select(
        F.col("id").alias("input_id"), "document", F.to_json(variables).alias("variables")
    )


def read(document_features: DataFrame, document_types: Fitted, replies: DataFrame) -> DataFrame:
    """The labels; one outside the closed set rejects the annotation."""
    labels = [row["label"] for row in document_types]
    label = F.lower(F.trim("reply.value.label"))
    told = replies.withColumn("reply", reply_reader(TASK)("text")).withColumn("label", label)
    is_unknown = F.col("reason").isNull() & ~F.coalesce(F.col("label").isin(*labels), F.lit(False))
    return (
        document_features.select(F.col("id").alias("input_id"), "document")
        .join(told, "input_id")
        .select(
            sql.derived_id("document_labels", F.array("input_id")).alias("id"),
            F.array("input_id").alias("parent_ids"),
            F.coalesce("reason", F.when(is_unknown, F.lit("label_outside_set"))).alias("reject_reason"),
            "document",
            "label",
            "call_id",
            "teacher",
            "model",
            "prompt_sha",
        )
    )


document_labels = llm_stage("document_labels", task=TASK, tops_up="document_features", ask=ask, read=read)
