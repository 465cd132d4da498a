"""Requests rendered without being sent: counted by the configured tokenizer, and held against the ledger.

It makes no call and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.estimates import SMALLEST_DOUBT, Measured, Range
from jobs.runtime.runner import Runner
from udfs.llm.context import TOKENS_PER_MESSAGE
from udfs.llm.requests import REQUEST_DDL, build_requests
from udfs.settings import LlmSettings
from udfs.tokens import token_count


@dataclass(frozen=True)
class Rendered:
    """Requests of one task: what the ledger lacks, and how our count compares with what was metered."""

    pending: float = 0.0  # calls, weighed
    mean: float = 0.0  # prompt tokens of a pending call, as metered where that is known
    spread: float = 0.0  # standard deviation of them
    seen: int = 0  # pending requests rendered
    weighed: bool = False  # whether they stand for more than themselves
    metered: float = 0.0  # of requests in the ledger: tokens by the provider's meter, and by ours
    counted: float = 0.0

    def calls(self) -> Range:
        """Calls to make; exact where everything was rendered."""
        return Range.about(self.pending, 2 / self.seen**0.5 if self.weighed and self.seen else 0.0)

    def tokens(self) -> Range:
        """Prompt tokens of one call."""
        factor = self.metered / self.counted if self.counted and self.metered else 1.0
        # Two tokenizers differ by a few percent; one that was compared is known better.
        return Range.about(self.mean * factor, SMALLEST_DOUBT if factor != 1.0 else 2 * SMALLEST_DOUBT)


def rendered(
    runner: Runner, llm: LlmSettings, task: str, asked: DataFrame, weights: DataFrame | None = None
) -> Rendered:
    """Render `asked` (input_id, document, variables); `weights` [input_id, weight] say what each stands for."""
    building: Any = build_requests(task, llm)
    requests = asked.select("input_id", "document", "variables").mapInArrow(building, REQUEST_DDL)
    return counted(runner, task, requests, weights)


def counted(runner: Runner, task: str, requests: DataFrame, weights: DataFrame | None = None) -> Rendered:
    """The same of requests (REQUEST_DDL) that are made already."""
    text, turns = F.concat_ws("\n", "messages.content"), F.size("messages")
    tokens = token_count(runner.settings.tokenizer)(text) + turns * TOKENS_PER_MESSAGE
    sized = requests.select("key", "input_id", tokens.alias("tokens"))
    sized = sized.withColumn("weight", F.lit(1.0)) if weights is None else sized.join(weights, "input_id")
    distinct = sized.groupBy("key").agg(F.first("tokens").alias("tokens"), F.max("weight").alias("weight"))
    is_new = F.col("served").isNull()
    metered = ~is_new & (F.col("tokens_in") > 0)
    row = (
        distinct.join(_served(runner, task), "key", "left")
        .agg(
            F.sum(F.when(is_new, F.col("weight"))).alias("pending"),
            F.avg(F.when(is_new, F.col("tokens"))).alias("mean"),
            F.stddev_pop(F.when(is_new, F.col("tokens"))).alias("spread"),
            F.count_if(is_new).alias("seen"),
            F.max("weight").alias("weight"),
            F.sum(F.when(metered, F.col("tokens_in"))).alias("metered"),
            F.sum(F.when(metered, F.col("tokens"))).alias("counted"),
        )
        .collect()[0]
    )
    return Rendered(
        row["pending"] or 0.0,
        row["mean"] or 0.0,
        row["spread"] or 0.0,
        row["seen"],
        (row["weight"] or 1.0) > 1.0,
        float(row["metered"] or 0),
        float(row["counted"] or 0),
    )


def _served(runner: Runner, task: str) -> DataFrame:
    """[key, served, tokens_in] of the requests that the ledger answers, as answers or as failures that last."""
    calls = runner.tables.read("llm_calls").where(F.col("status").isin("ok", "lasting") & (F.col("task") == task))
    first = calls.where(F.col("parent_key").isNull())
    return first.groupBy("key").agg(F.lit(True).alias("served"), F.max("tokens_in").alias("tokens_in"))


def teacher_of(runner: Runner, stage: str) -> LlmSettings:
    """How the calls of a stage are made."""
    return runner.settings.llm.of(stage)


def ledger_measures(runner: Runner, stages: Iterable[str]) -> dict[str, Measured]:
    """What the ledger metered, per task, of the models that are configured now."""
    models = {teacher_of(runner, name).model for name in stages}
    same = F.get_json_object("parameters", "$.model").isin(*models)
    calls = runner.tables.read("llm_calls").where(same & F.col("status").isin("ok", "lasting"))
    first = F.col("parent_key").isNull()
    answered = first & (F.col("tokens_out") > 0)
    rows = (
        calls.groupBy("task")
        .agg(
            F.count_if(answered).alias("calls"),
            F.avg(F.when(answered, F.col("tokens_in"))).alias("tokens_in"),
            F.avg(F.when(answered, F.col("tokens_out"))).alias("tokens_out"),
            F.stddev_pop(F.when(answered, F.col("tokens_out"))).alias("spread"),
            F.count_if(~first).alias("turns"),
        )
        .collect()
    )
    return {
        row["task"]: Measured(
            row["calls"], row["tokens_in"], row["tokens_out"], row["spread"], row["turns"] / row["calls"]
        )
        for row in rows
        if row["calls"]
    }
