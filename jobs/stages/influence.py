"""What accepted samples are worth to a long-context model: raw measurements by two models (GATEAU, section 3)."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import stage
from udfs.models.influence.columns import MEASURED_DDL, measured
from udfs.models.influence.support import pair_identity
from udfs.settings import InfluenceSettings

BYTES_A_TOKEN = 3  # of many tokenizers and languages, roughly
ATTENTION_TOKENS = 16_384  # where attention takes about as long as everything else
TASKS_A_CORE = 4  # what an estimate gets wrong evens out over so many


@stage(streams="samples", revision=2)
def influence(samples: DataFrame, *, influence: InfluenceSettings) -> DataFrame:
    """One row per sample; runs on the GPU where Spark gives the task one, long samples spread over the tasks."""
    facts = samples.select(F.col("id").alias("sample"), "setting", "document_type")
    texts = samples.select(F.col("id").alias("sample"), "context", "instruction", "response")
    measuring: Any = measured(influence)
    short_model, long_model = pair_identity(influence)
    found = spread(texts, influence.max_tokens).mapInPandas(measuring, MEASURED_DDL)
    return found.join(facts, "sample").select(
        sql.derived_id("influence", F.array("sample")).alias("id"),
        F.array("sample").alias("parent_ids"),
        "*",
        (F.col("dropped_tokens") > 0).alias("truncated"),
        F.lit(short_model).alias("short_model"),
        F.lit(long_model).alias("long_model"),
    )


def spread(texts: DataFrame, max_tokens: int) -> DataFrame:
    """The same rows, dealt out by falling cost: each partition has about the same to do, its longest row first."""
    parts = texts.sparkSession.sparkContext.defaultParallelism * TASKS_A_CORE
    costs = texts.select("sample", estimated_cost(max_tokens).alias("cost"))
    # Forth and back: 0 1 2 2 1 0 0 1 2 …
    dealt = costs.selectExpr("sample", "cost", "row_number() OVER (ORDER BY cost DESC, sample) - 1 AS turn").selectExpr(
        "sample",
        "cost",
        f"int(if(pmod(turn div {parts}, 2) = 0, pmod(turn, {parts}), {parts} - 1 - pmod(turn, {parts}))) AS part",
    )
    placed = texts.join(dealt, "sample").repartitionById(parts, "part")
    return placed.sortWithinPartitions(F.col("cost").desc(), "sample").select(*texts.columns)


def estimated_cost(max_tokens: int) -> Column:
    """About how long a sample takes, in tokens of a short one: n (1 + n / 16,384)."""
    sizes = F.octet_length("context") + F.octet_length("response")
    tokens = F.least(sizes / F.lit(BYTES_A_TOKEN), F.lit(float(max_tokens)))
    return tokens * (1 + tokens / ATTENTION_TOKENS)
