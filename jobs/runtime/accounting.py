"""Accounts for every row of a batch: kept, rejected or deferred, by reason.

It counts frames; it neither writes them nor decides what a reason means.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.costs import Cost
from jobs.runtime.stage import Stage
from jobs.runtime.summary import StageTally, added, reason_code

DEFER = "defer:"  # a row with this reason waits instead of being written


def count_batch(
    stage: Stage, main: DataFrame, driving: DataFrame | None, waits: DataFrame | None, done: StageTally
) -> None:
    """Account for every driving row of the batch."""
    _count_reasons(main, done)
    done.out = done.kept + done.rejected  # of rows; accounts by input change kept and rejected below
    if waits is not None:
        for row in waits.groupBy("reason").count().collect():
            done.deferred += row["count"]
            done.reasons[DEFER + row["reason"]] += row["count"]
    done.rows_in = driving.count() if driving is not None else done.kept + done.rejected + done.deferred
    if stage.counts == "inputs":
        _count_inputs(main, done)
    elif stage.counts == "batch":
        done.kept, done.rejected = done.rows_in - done.deferred, 0


def _count_inputs(main: DataFrame, done: StageTally) -> None:
    """Accounts by driving row where a row gives many rows, or many rows give one."""
    waits = F.max(F.col("reject_reason").startswith(DEFER))
    fates = main.where(F.size("parent_ids") > 0).groupBy(F.col("parent_ids")[0].alias("input_id"))
    fate = fates.agg(
        F.coalesce(waits, F.lit(False)).alias("waits"),
        F.min(F.col("reject_reason").isNotNull()).alias("fails"),
    )
    told = fate.agg(
        F.count_if("waits").alias("deferred"), F.count_if(F.col("fails") & ~F.col("waits")).alias("rejected")
    ).collect()[0]
    done.deferred, done.rejected = told["deferred"], told["rejected"]
    done.kept = done.rows_in - done.deferred - done.rejected


def count_rows(rows: DataFrame, tally: StageTally) -> None:
    """Account for a table that is recomputed as a whole."""
    _count_reasons(rows, tally)
    tally.rows_in = tally.kept + tally.rejected


def _count_reasons(rows: DataFrame, tally: StageTally) -> None:
    for row in rows.groupBy("reject_reason").count().collect():
        reason = row["reject_reason"]
        if reason is None:
            tally.kept += row["count"]
        elif reason.startswith(DEFER):
            tally.deferred += row["count"]
            tally.reasons[reason] += row["count"]
        else:
            tally.rejected += row["count"]
            tally.reasons[reason_code(reason)] += row["count"]


def add_cost(tally: StageTally, cost: Cost) -> None:
    """Add what calls came to."""
    tally.calls += cost.calls
    tally.tokens_in += cost.tokens_in
    tally.tokens_out += cost.tokens_out
    tally.tokens_cached += cost.tokens_cached
    tally.served += cost.served
    for name in ("money", "saved_ledger", "saved_cache"):
        setattr(tally, name, added(getattr(tally, name), getattr(cost, name)))
