"""One instruction per walk, written after the example of its nearest seed path (WildLong, section 3.2, Table 7)."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import Shared, llm_stage
from sql.frames import duplicate_key, first_reason, reject_duplicates
from udfs.llm.parse import reply_reader
from udfs.minhash import bands, signature
from udfs.near_duplicates import first_alike
from udfs.settings import MinhashSettings

TASK = "instruction"


def ask(walks: DataFrame, seed_paths: DataFrame) -> DataFrame:
    """The path, and the most similar seed path with its instruction as one-shot example."""
    demo = seed_paths.select(
        F.col("id").alias("nearest_seed_path"),
        pairs("nodes").alias("demo_path"),
        F.col("instruction").alias("demo_instruction"),
    )
    variables = F.struct("setting", "document_type", pairs("nodes").alias("path"), "demo_path", "demo_instruction")
    return walks.join(demo, "nearest_seed_path").select(
        F.col("id").alias("input_id"),
        F.lit(None).cast("string").alias("document"),
        F.to_json(variables).alias("variables"),
    )


def read(walks: DataFrame, replies: DataFrame, previous: DataFrame, *, instructions: MinhashSettings) -> Shared:
    """The instructions; one that repeats an earlier one is rejected with the id it matches."""
    told = replies.withColumn("reply", reply_reader(TASK)("text"))
    text = F.trim("reply.value.instruction")
    is_empty = F.col("reason").isNull() & (F.coalesce(F.length(text), F.lit(0)) == 0)
    path = walks.select(F.col("id").alias("input_id"), "setting", "document_type", "walk_index")
    written = path.join(told, "input_id").select(
        sql.derived_id("instructions", F.array("input_id")).alias("id"),
        F.array("input_id").alias("parent_ids"),
        F.coalesce("reason", first_reason([(is_empty, "empty_instruction")])).alias("reject_reason"),
        F.col("input_id").alias("walk"),
        "setting",
        "document_type",
        "walk_index",
        text.alias("instruction"),
        "call_id",
        "teacher",
        "model",
        "prompt_sha",
    )
    signed = written.withColumns(
        {"duplicate_key": duplicate_key(F.col("instruction")), "signature": signature(instructions)("instruction")}
    ).withColumn("bands", bands(instructions)("signature"))
    earlier = previous.withColumn("duplicate_key", duplicate_key(F.col("instruction")))
    return Shared(
        signed,
        lambda rows: reject_duplicates(rows, earlier, first_alike(instructions)).drop("duplicate_key"),
    )


def pairs(nodes: str) -> Column:
    """Field and value of each node, without its id."""
    return F.transform(nodes, lambda node: F.struct(node["field"].alias("field"), node["value"].alias("value")))


instructions = llm_stage("instructions", task=TASK, streams="walks", ask=ask, read=read)
