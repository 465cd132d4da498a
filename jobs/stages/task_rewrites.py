"""Task values and simplified instructions in their form for several documents (WildLong, section 3.4, Table 9)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import llm_stage
from udfs.llm.parse import reply_reader

TASK = "task_rewrite"


def ask(canonical_values: DataFrame) -> DataFrame:
    """One request per value; values that count as the same ask the same, so the ledger answers them once."""
    variables = F.struct("document_type", "field", F.col("canonical").alias("value"))
    return canonical_values.select(
        F.col("id").alias("input_id"),
        F.lit(None).cast("string").alias("document"),
        F.to_json(variables).alias("variables"),
    )


def read(canonical_values: DataFrame, replies: DataFrame) -> DataFrame:
    """The rewritten values; one that cannot be had leaves the multi-document graph."""
    told = replies.withColumn("reply", reply_reader(TASK)("text"))
    values = canonical_values.select(F.col("id").alias("input_id"), "document_type", "field", "value")
    return values.join(told, "input_id").select(
        sql.derived_id("task_rewrites", F.array("input_id")).alias("id"),
        F.array("input_id").alias("parent_ids"),
        F.col("reason").alias("reject_reason"),
        "document_type",
        "field",
        "value",
        F.col("reply.value.rewritten").alias("rewritten"),
        "call_id",
        "teacher",
        "model",
        "prompt_sha",
    )


task_rewrites = llm_stage(
    "task_rewrites",
    task=TASK,
    streams="canonical_values",
    where="field IN ('tasks', 'simplified_instruction')",
    ask=ask,
    read=read,
)
