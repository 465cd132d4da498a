"""Thirteen fields of meta information per long conversation (WildLong, section 3.1 and Table 6)."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from graphs.values import GRAPH_FIELDS
from jobs.runtime.stage import llm_stage
from udfs.llm.parse import reply_reader
from udfs.settings import MetaSettings

TASK = "meta"


def ask(long_conversations: DataFrame, conversations: DataFrame, *, meta: MetaSettings) -> DataFrame:
    """One request per conversation; a long turn is clipped in its middle, where requests rarely stand."""
    texts = conversations.select(F.col("id").alias("conversation"), "user_text", "assistant_text")
    turns = F.struct(
        clipped("user_text", meta.user_chars).alias("user"),
        clipped("assistant_text", meta.assistant_chars).alias("assistant"),
    )
    return long_conversations.join(texts, "conversation").select(
        F.col("id").alias("input_id"), F.lit(None).cast("string").alias("document"), F.to_json(turns).alias("variables")
    )


def read(long_conversations: DataFrame, replies: DataFrame, *, meta: MetaSettings) -> DataFrame:
    """The fields of each reply; one that stays unreadable, or that ran away, rejects the conversation."""
    told = replies.withColumn("meta", reply_reader(TASK)("text"))
    single = ("document_type", "simplified_instruction")
    fields = {name: F.col(f"meta.value.{name}") for name in GRAPH_FIELDS}
    ran_away = F.size(F.concat(*fields.values())) > meta.max_values
    fields |= {name: F.array_compact(F.array(f"meta.value.{name}")) for name in single}
    return (
        long_conversations.select(F.col("id").alias("input_id"), "conversation")
        .join(told, "input_id")
        .select(
            sql.derived_id("meta_records", F.array("input_id")).alias("id"),
            F.array("input_id").alias("parent_ids"),
            F.coalesce("reason", F.when(ran_away, F.lit("too_many_values"))).alias("reject_reason"),
            "conversation",
            *[column.alias(name) for name, column in fields.items()],
            "call_id",
            "teacher",
            "model",
            "prompt_sha",
        )
    )


def clipped(name: str, most: int) -> Column:
    """Head and tail of a text of more than `most` characters, with a mark between them."""
    head = most * 3 // 4
    cut = F.concat(F.substring(name, 1, head), F.lit("\n[…]\n"), F.expr(f"right({name}, {most - head})"))
    return F.when(F.length(name) <= most, F.col(name)).otherwise(cut)


meta_records = llm_stage("meta_records", task=TASK, streams="long_conversations", ask=ask, read=read, revision=2)
