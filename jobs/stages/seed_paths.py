"""Each conversation's full path through the graph, per setting: what walks are compared with and learn from."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from graphs.cooccurrence import node_key
from graphs.values import INSTRUCTION, field_values, graph_value
from jobs.runtime.stage import AllRows, stage
from udfs.settings import NOTHINGS

WAITS = "defer:waiting:task_rewrites"


@stage(streams="conversation_types", counts="inputs", revision=3)
def seed_paths(
    conversation_types: DataFrame, meta_records: DataFrame, canonical_values: DataFrame, task_rewrites: AllRows
) -> DataFrame:
    """Two rows per conversation: `single`, and `multi` with its tasks and instruction rewritten.

    A rewrite that says nothing in normal form leaves its value out, as one does that the teacher refused; so does a
    canonical value, which an older root may hold.
    """
    says = ~F.col("canonical").isin(*sorted(NOTHINGS)) | (F.col("field") == INSTRUCTION)
    rewrites = task_rewrites.withColumn(
        "rewritten",
        F.when(F.col("field") == "tasks", graph_value("rewritten")).otherwise(F.col("rewritten")),
    )
    paths = sql.run(
        "seed_paths",
        conversation_types=conversation_types,
        field_values=field_values(meta_records),
        canonical_values=canonical_values.withColumn("canonical", F.when(says, F.col("canonical"))),
        task_rewrites=rewrites,
    )
    nodes = F.transform(
        "pairs",
        lambda pair: F.struct(
            pair["field"].alias("field"),
            pair["value"].alias("value"),
            node_key(F.col("setting"), F.col("document_type"), pair["field"], pair["value"]).alias("node"),
        ),
    )
    is_empty = F.coalesce(F.size("pairs"), F.lit(0)) == 0
    reason = (
        F.when(F.col("waits"), F.lit(WAITS))
        .when(is_empty, F.lit("no_values"))
        .when(F.col("instruction").isNull(), F.lit("no_instruction"))
    )
    return paths.select(
        sql.derived_id("seed_paths", F.array("input_id"), F.col("setting")).alias("id"),
        F.array("input_id").alias("parent_ids"),
        reason.alias("reject_reason"),
        "setting",
        "conversation",
        "document_type",
        nodes.alias("nodes"),
        "instruction",
    )
