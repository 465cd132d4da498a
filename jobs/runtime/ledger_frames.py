"""Frames of the ledger: what it answers requests with, what that had cost, what was recorded of each.

They read calls and requests; they neither send nor write.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.runtime.costs import price_share
from jobs.runtime.plan_mode import is_small
from udfs.llm.settled import SERVED, TOKENS, settled
from udfs.llm.teachers import BATCH, who_answers

FEW = 2_000  # inputs whose keys are looked for in a large ledger
NAMED_RUNS = 50  # runs whose calls are looked for by name, file by file


def are_few(inputs: DataFrame) -> bool:
    """Whether to look for the few keys of `inputs` in a large ledger, instead of joining the two.

    A join sorts all texts of the ledger by key, for one new conversation as for all. Where plans are interpreted the
    ledger is small, and counting the inputs would take longer than it spares.
    """
    return not is_small(inputs.sparkSession) and inputs.select("input_id").limit(FEW + 1).count() <= FEW


def settled_requests(
    requests: DataFrame, calls: DataFrame, task: str, raises_limit: bool, few: bool = False
) -> DataFrame:
    """Each request of a task with what the calls of the ledger say: ok, lasting, or null where there is one to send.

    `few` looks for the keys in the ledger first (`_of_few`); the requests are read more than once then.
    """
    told = calls.where(F.col("status").isin("ok", "lasting") & (F.col("task") == task))
    if few:
        told = _of_few(told, requests)
    asked = F.coalesce("turn.teacher", "root.teacher")
    known = requests.join(served_calls(told), "key", "left")
    judged = known.withColumn("settled", settled(task, raises_limit)("key", "root", "turn"))
    return judged.select(
        *requests.columns,
        "settled.*",
        F.when(asked == BATCH, who_answers(BATCH)).otherwise(asked).alias("teacher"),
        F.coalesce("turn.model", "root.model").alias("model"),
        F.col("root.id").alias("call_id"),
        *[both(name).alias(name) for name in TOKENS],
    )


def _of_few(calls: DataFrame, requests: DataFrame) -> DataFrame:
    """The calls for these requests, by two looks into a large ledger: which runs made them, then what they say.

    The first reads no text. The second reads those of these runs alone, for a file of Delta's holds calls of one run,
    or of neighbours once it was compacted, and says of which; for a new request there is nothing to read.
    """
    of = F.coalesce("parent_key", "key")
    wanted = F.broadcast(requests.select(F.col("key").alias("wanted")))
    made = calls.join(wanted, of == F.col("wanted"), "left_semi").select("run_id").distinct().collect()
    of_runs = calls.where(_is_any("run_id", [row["run_id"] for row in made]))
    return of_runs.join(wanted, of == F.col("wanted"), "left_semi")


def _is_any(name: str, values: list[str | None]) -> Column:
    """Whether a column holds one of the values, in words by which Delta leaves out files.

    Of a list it compares the ends alone: files of runs between the first and the last would all be read.
    """
    if len(values) > NAMED_RUNS:
        return F.col(name).isin(values) | F.col(name).isNull()
    return reduce(or_, [F.col(name).eqNullSafe(F.lit(value)) for value in values], F.lit(False))


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
