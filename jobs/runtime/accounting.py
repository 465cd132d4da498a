"""Accounts for every row of a batch: kept, rejected or deferred, by reason.

It counts frames; it neither writes them nor decides what a reason means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.costs import Cost
from jobs.runtime.stage import Stage
from jobs.runtime.summary import StageTally, added, reason_code

DEFER = "defer:"  # a row with this reason waits instead of being written


def count_batch(
    stage: Stage, main: DataFrame, driving: DataFrame | None, waits: DataFrame | None, done: StageTally
) -> None:
    """Account for every driving row of the batch, in one job."""
    parts = {"rows": main.groupBy(F.col("reject_reason").alias("reason")).count()}
    if waits is not None:
        parts["waits"] = waits.groupBy("reason").count()
    if driving is not None:
        parts["inputs"] = driving.agg(F.lit(None).cast("string").alias("reason"), F.count("*").alias("count"))
    if stage.counts == "inputs":
        parts["fates"] = _fates(main)
    counted = _collected(parts)
    _tell_reasons(counted["rows"], done)
    done.out = done.kept + done.rejected  # of rows; accounts by input change kept and rejected below
    for reason, count in counted.get("waits", []):
        done.deferred += count
        done.reasons[f"{DEFER}{reason}"] += count
    inputs = counted.get("inputs", [(None, done.kept + done.rejected + done.deferred)])
    done.rows_in = sum(count for _, count in inputs)
    if stage.counts == "inputs":
        fates = {str(fate): count for fate, count in counted["fates"]}
        done.deferred, done.rejected = fates.get("deferred", 0), fates.get("rejected", 0)
        done.kept = done.rows_in - done.deferred - done.rejected
    elif stage.counts == "batch":
        done.kept, done.rejected = done.rows_in - done.deferred, 0


def _collected(parts: Mapping[str, DataFrame]) -> dict[str, list[tuple[str | None, int]]]:
    """The rows of each part [reason, count]; a job for all of them costs little more than a job for one."""
    named = [frame.select(F.lit(part).alias("part"), "reason", "count") for part, frame in parts.items()]
    told: dict[str, list[tuple[str | None, int]]] = {part: [] for part in parts}
    for row in reduce(DataFrame.unionByName, named).collect():
        told[row["part"]].append((row["reason"], row["count"]))
    return told


def _fates(main: DataFrame) -> DataFrame:
    """[reason, count] of inputs that wait or fail, where an input gives many rows or many give one."""
    waits = F.max(F.col("reject_reason").startswith(DEFER))
    by_input = main.where(F.size("parent_ids") > 0).groupBy(F.col("parent_ids")[0].alias("input_id"))
    fate = by_input.agg(
        F.when(F.coalesce(waits, F.lit(False)), "deferred")
        .when(F.min(F.col("reject_reason").isNotNull()), "rejected")
        .alias("reason")
    )
    return fate.groupBy("reason").count()


def count_rows(rows: DataFrame, tally: StageTally) -> None:
    """Account for a table that is recomputed as a whole."""
    _tell_reasons(_collected({"rows": rows.groupBy(F.col("reject_reason").alias("reason")).count()})["rows"], tally)
    tally.rows_in = tally.kept + tally.rejected


def _tell_reasons(counted: Iterable[tuple[str | None, int]], tally: StageTally) -> None:
    for reason, count in counted:
        if reason is None:
            tally.kept += count
        elif reason.startswith(DEFER):
            tally.deferred += count
            tally.reasons[reason] += count
        else:
            tally.rejected += count
            tally.reasons[reason_code(reason)] += count


def add_cost(tally: StageTally, cost: Cost) -> None:
    """Add what calls came to."""
    tally.calls += cost.calls
    tally.tokens_in += cost.tokens_in
    tally.tokens_out += cost.tokens_out
    tally.tokens_cached += cost.tokens_cached
    tally.served += cost.served
    for name in ("money", "saved_ledger", "saved_cache"):
        setattr(tally, name, added(getattr(tally, name), getattr(cost, name)))
