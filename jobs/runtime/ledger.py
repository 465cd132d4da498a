"""The call ledger: answers are served from it, missing ones are sent once and made durable at once.

`fulfil` is the only code that spends money. Replies become durable in a spool outside the Spark task, are
folded into `llm_calls` by segment, and everything downstream derives from that table.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from graphs.checkpoints import settled as settled_frame
from jobs.runtime.errors import ServiceRefused
from jobs.runtime.tables import Tables
from udfs.llm.calls import CALL_DDL
from udfs.llm.outcome import OUTCOME_DDL
from udfs.llm.requests import REQUEST_DDL, build_requests
from udfs.llm.sender import send
from udfs.llm.settled import SEGMENT_DDL, SERVED, segment_rows, settled
from udfs.llm.spool import list_segments, remove_segments
from udfs.llm.teacher import ErrorKind
from udfs.settings import LlmSettings, TokenizerSettings


@dataclass
class Cost:
    """What the calls of one `fulfil` came to."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass
class Fulfilled:
    """Replies by input id, the inputs that must wait, and what the calls cost."""

    # input_id, variables, status ('ok' | 'lasting'), reason, text, call_id, teacher, model, prompt_sha
    replies: DataFrame
    waiting: DataFrame | None  # input_id, reason; None when nothing waits
    cost: Cost


@dataclass(frozen=True)
class Serving:
    """How a ledger serves a run.

    `sealed` sends nothing: what is not there waits. `tables` are those of the root whose ledger it is, where that is
    another one. `show` is told each request of a stage with its prompt and its reply, once it was served.
    """

    sealed: bool = False
    tables: Tables | None = None
    show: Callable[[str, DataFrame], None] | None = None  # (stage, [key, messages, status, reason, text, model])


OPEN = Serving()


class Ledger:
    """`llm_calls` and the spool of one root."""

    def __init__(
        self, tables: Tables, settings: LlmSettings, tokenizer: TokenizerSettings, serving: Serving = OPEN
    ) -> None:
        self._serving = serving
        if serving.tables is not None:
            serving.tables.run_id, tables = tables.run_id, serving.tables
        self._tables = tables
        self._settings = settings
        self._tokenizer = tokenizer
        self._spool = posixpath.join(tables.state, "_spool")
        self._one_at_a_time = threading.Lock()  # folding drops the segments of every stage

    def fold(self) -> Cost:
        """Append spooled calls to `llm_calls`, then drop their segments; what they cost.

        A crash between the two repeats the append, which finds the ids already there.
        """
        segments = list_segments(self._spool)
        if not segments:
            return Cost()
        spark = self._tables.spark
        listed = spark.createDataFrame([(s.name, s.url, s.partition) for s in segments], SEGMENT_DDL)
        reading: Any = segment_rows
        calls = listed.mapInArrow(reading, CALL_DDL)
        known = self._tables.read("llm_calls").select("id")
        rows = (
            calls.dropDuplicates(["id"])
            .join(known, "id", "left_anti")
            .withColumns(
                {
                    "parent_ids": F.array().cast("array<string>"),
                    "reject_reason": F.when(F.col("status") != "ok", F.concat(F.lit("llm:"), "error_kind")),
                    "recipe": F.col("prompt_sha"),
                }
            )
        )
        fresh = settled_frame(self._tables.conform(rows, "llm_calls", {}))
        added = fresh.agg(F.count("*"), F.sum("tokens_in"), F.sum("tokens_out")).collect()[0]
        if added[0]:
            self._tables.append(fresh, "llm_calls", {"stage": "llm_calls"})
        remove_segments(segments)
        return Cost(added[0], added[1] or 0, added[2] or 0)

    def fulfil(self, stage: str, task: str, inputs: DataFrame) -> Fulfilled:
        """Serve `inputs` (input_id, document, variables) from the ledger, sending only what it lacks.

        Stages that run beside each other take turns. Raises ServiceRefused when the service refuses us; what was
        answered until then is kept.
        """
        with self._one_at_a_time:
            return self._fulfil(stage, task, inputs)

    def _fulfil(self, stage: str, task: str, inputs: DataFrame) -> Fulfilled:
        session = inputs.sparkSession
        columns = inputs.select("input_id", "document", "variables")
        llm = self._settings.of(stage)
        building: Any = build_requests(task, llm)
        requests = columns.mapInArrow(building, REQUEST_DDL)
        known = settled_frame(self._settled(requests, task, llm, session))
        pending = known.where(F.col("status").isNull())
        cost, waiting = Cost(), None
        if not pending.isEmpty():
            if not self._serving.sealed:
                cost = self._send(stage, llm, pending)
            sent = known.select(*[name for name in requests.columns if name != "messages"])
            known = settled_frame(self._settled(sent, task, llm, session))
            if not known.where(F.col("status").isNull()).isEmpty():
                waiting = self._waiting(known, stage, session)
        if self._serving.show is not None:
            told = known.select("key", "status", "reason", "text", "model")
            self._serving.show(stage, requests.select("key", "messages").join(told, "key"))
        replies = known.where(F.col("status").isNotNull()).drop("messages", "further", "known_text", "document")
        return Fulfilled(replies, waiting, cost)

    def forget_failures(self, stage: str) -> None:
        """Drop lasting failures of a stage, so that its calls are made again."""
        self._tables.delete("llm_calls", f"stage = '{stage}' AND status = 'lasting'", {"stage": stage})

    def _settled(self, requests: DataFrame, task: str, llm: LlmSettings, session: SparkSession) -> DataFrame:
        """Each request with what the ledger says: ok, lasting, or null where there is something to send."""
        calls = self._tables.read("llm_calls", session).where(F.col("status").isin("ok", "lasting"))
        known = requests.join(_served(calls.where(F.col("task") == task)), "key", "left")
        judged = known.withColumn("settled", settled(task, llm.raised_max_tokens > 0)("key", "root", "turn"))
        return judged.select(
            *requests.columns,
            "settled.*",
            F.coalesce("turn.teacher", "root.teacher").alias("teacher"),
            F.coalesce("turn.model", "root.model").alias("model"),
            F.col("root.id").alias("call_id"),
        )

    def _send(self, stage: str, llm: LlmSettings, pending: DataFrame) -> Cost:
        """Send each missing request once; calls on one document run back to back in one task."""
        session = pending.sparkSession
        distinct = pending.dropDuplicates(["key"]).drop("status", "reason", "text", "teacher", "model", "call_id")
        parts = session.sparkContext.defaultParallelism
        spread = distinct.repartition(parts, F.coalesce("document", "key")).sortWithinPartitions("document", "key")
        act: Any = send(llm, self._spool, stage, self._tables.run_id, tokenizer=self._tokenizer)
        cost = Cost()
        try:
            ended = (
                spread.mapInArrow(act, OUTCOME_DDL).groupBy("status", "error_kind").agg(F.first("error").alias("error"))
            )
            fatal = [row for row in ended.collect() if row["status"] == "fatal"]
        finally:
            cost = self.fold()
        if fatal:
            raise ServiceRefused(refusal(stage, llm, fatal[0]["error_kind"], fatal[0]["error"]))
        return cost

    def _waiting(self, known: DataFrame, stage: str, session: SparkSession) -> DataFrame:
        """Inputs without a served reply, with the passing error their call ended in."""
        mine = (F.col("stage") == stage) & (F.col("run_id") == self._tables.run_id)
        calls = self._tables.read("llm_calls", session).where(mine & (F.col("status") == "passing"))
        kinds = calls.groupBy(F.coalesce("parent_key", "key").alias("key")).agg(F.max("error_kind").alias("kind"))
        missing = known.where(F.col("status").isNull()).join(kinds, "key", "left")
        return missing.select(
            "input_id", F.concat(F.lit("llm:"), F.coalesce("kind", F.lit("not_sent"))).alias("reason")
        )


def refusal(stage: str, llm: LlmSettings, kind: str, error: str) -> str:
    """Why the calls of a stage were stopped, and what to do about it."""
    if llm.teacher == "offline":
        return f"the offline teacher failed at stage {stage} ({kind}): {error}. It needs no service: report it."
    mends = {
        ErrorKind.AUTHENTICATION: f"check the environment variable {llm.api_key_env}",
        ErrorKind.QUOTA: "check your quota and your bill",
        ErrorKind.NOT_FOUND: f"check llm.base_url and llm.model ({llm.model})",
        ErrorKind.CERTIFICATE: "check llm.base_url, or name your authority's certificates in SSL_CERT_FILE",
        ErrorKind.TOO_MANY_ERRORS: "mend what the errors name, or raise llm.max_error_share",
    }
    mend = mends.get(ErrorKind(kind), "check the llm settings against what this server takes")
    return (
        f"the service at {llm.base_url} stopped stage {stage} ({kind}): {error}. No further call was sent and nothing "
        f"that was answered is lost; {mend}, then run again."
    )


def _served(calls: DataFrame) -> DataFrame:
    """[key, root, turn]: each request's served first call and correction turn.

    An answer comes before a failure, ties go to the smallest id.
    """
    best = "min_by(struct({}), struct(status <> 'ok', id)) FILTER (WHERE parent_key IS {})"
    call = ", ".join(SERVED)
    root, turn = F.expr(best.format(call, "NULL")), F.expr(best.format(call, "NOT NULL"))
    return calls.groupBy(F.coalesce("parent_key", "key").alias("key")).agg(root.alias("root"), turn.alias("turn"))
