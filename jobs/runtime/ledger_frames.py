"""Frames of the ledger: what it answers requests with, what that had cost, what was recorded of each.

They read calls and requests; they neither send nor write.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.runtime.costs import price_share
from udfs.llm.settled import SERVED, TOKENS


def already_known(known: DataFrame) -> tuple[int, int, list[float]]:
    """Requests that the ledger answers, requests that it does not, and the tokens of the answered, as they were billed:
    in, out, cached."""
    status = F.col("status")
    answered = F.when(status.isNotNull(), F.struct("key", *TOKENS))
    sums = [F.sum(F.when(status.isNotNull(), F.col(name))) for name in TOKENS]
    told = known.agg(F.count(answered), F.count_if(status.isNull()), *sums).collect()[0]
    return told[0], told[1], [number or 0 for number in told[2:]]


def both(name: str) -> Column:
    """A count of the first call and of the further one together, each at its share of the price."""

    def billed(call: str) -> Column:
        return F.coalesce(F.col(f"{call}.{name}") * price_share(f"{call}.teacher"), F.lit(0.0))

    return billed("root") + billed("turn")


def served_calls(calls: DataFrame) -> DataFrame:
    """[key, root, turn]: each request's served first call and correction turn.

    An answer comes before a failure, ties go to the smallest id.
    """
    best = "min_by(struct({}), struct(status <> 'ok', id)) FILTER (WHERE parent_key IS {})"
    call = ", ".join(SERVED)
    root, turn = F.expr(best.format(call, "NULL")), F.expr(best.format(call, "NOT NULL"))
    return calls.groupBy(F.coalesce("parent_key", "key").alias("key")).agg(root.alias("root"), turn.alias("turn"))


def recorded(calls: DataFrame) -> DataFrame:
    """[key, calls]: every call that was made for a request, further ones after the first ones."""
    told = F.struct(F.col("parent_key").isNotNull().alias("further"), "id", "model", "status", "error_kind", "text")
    held = F.sort_array(F.collect_list(told))
    return calls.groupBy(F.coalesce("parent_key", "key").alias("key")).agg(held.alias("calls"))
