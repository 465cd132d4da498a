"""The call ledger: answers are served from it, missing ones are sent once and made durable at once.

`fulfil` is the only code that spends money. Replies become durable in a spool outside the Spark task, are
folded into `llm_calls` by segment, and everything downstream derives from that table.
"""

from __future__ import annotations

import posixpath
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from graphs.checkpoints import checkpointed
from jobs.runtime.batches import OUTSTANDING, Batches
from jobs.runtime.costs import Cost, price_share, priced
from jobs.runtime.errors import BudgetReached, ServiceRefused
from jobs.runtime.ledger_frames import already_known, are_few, recorded, settled_requests
from jobs.runtime.progress import Calls, spooled_calls
from jobs.runtime.refusals import refusal
from jobs.runtime.tables import Tables
from udfs.llm.budget import Budget
from udfs.llm.calls import CALL_DDL
from udfs.llm.coordinator import Coordinator
from udfs.llm.follow_ups import Following, build_follow_ups, passing
from udfs.llm.outcome import OUTCOME_DDL
from udfs.llm.prices import price_of
from udfs.llm.requests import REQUEST_DDL, build_requests, call_parameters
from udfs.llm.sender import send
from udfs.llm.settled import SEGMENT_DDL, TOKENS, segment_rows
from udfs.llm.spool import list_segments, remove_segments
from udfs.llm.teacher import ErrorKind
from udfs.llm.teachers import BATCH
from udfs.llm.text import canonical_json
from udfs.settings import LlmSettings, TokenizerSettings


@dataclass
class Fulfilled:
    """Replies by input id, the inputs that must wait, and what the calls cost."""

    # input_id, variables, parameters, status ('ok' | 'lasting'), reason, text, call_id, teacher, model, prompt_sha; of
    # a follow-up its text and call_id as further_text and further_call, null where it failed or there was none. Of two
    # draws it is the one that stands, with its number as draw, and the other's call_id, if any, as other_call.
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
# Columns of other tables that name a row of llm_calls; older roots know fewer of them.
CALL_COLUMNS = ("call_id", "answerable_call", "other_call")
Follow = tuple[Following, ...]


@dataclass
class _Served:
    """Requests of one task and what became of them, follow-ups included that were served since."""

    known: DataFrame  # each request with its settled reply, null where it waits; without messages
    lacked: DataFrame  # [input_id] of those for which the ledger lacked a call before
    waiting: DataFrame | None  # input_id, reason
    cost: Cost


class Ledger:
    """`llm_calls` and the spool of one root."""

    def __init__(
        self,
        tables: Tables,
        settings: LlmSettings,
        tokenizer: TokenizerSettings,
        serving: Serving = OPEN,
        say: Callable[[str], None] = lambda line: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`pause` sleeps so many seconds, and raises where the run is told to stop meanwhile.

        Calls bear the run id of `tables`, also where they are kept among `serving.tables`. Those stay as they are, for
        whoever opened them writes under an id of its own; what is known of their versions is shared with them.
        """
        self._serving = serving
        if serving.tables is not None:
            tables = replace(serving.tables, run_id=tables.run_id)
        self._tables = tables
        self._settings = settings
        self._tokenizer = tokenizer
        self._spool = posixpath.join(tables.state, "_spool")
        self._one_at_a_time = threading.Lock()  # folding drops the segments of every stage
        self._say = say
        self._coordinator: Coordinator | None = None
        self._spooled = spooled_calls(self._spool)
        self._to_send: dict[str, int] = {}
        self._instead: dict[str, Cost] = {}  # what was served from here instead of being asked, until it is told
        self._budget = Budget(settings.budget_calls, settings.budget_usd)
        self.batches = Batches(tables, tokenizer, self._budget, self._spool, self.fold, say, pause, self._answered)

    def under_way(self, stage: str) -> Calls:
        """How far the calls are that this run makes for a stage; where nobody counts them, by those in the spool."""
        told = None if self._coordinator is None else self._coordinator.progress(stage)
        if told is None:
            return Calls(self._spooled(stage), self._to_send.get(stage, 0))
        usd = None if price_of(self._settings.of(stage)) is None else told.usd
        return Calls(told.answered, max(told.expected, told.answered), usd, told.saved_ledger + told.saved_cache)

    def close(self) -> None:
        """End what keeps the limits of the calls, and connections; may be called twice."""
        self.batches.end()
        if self._coordinator is not None:
            self._coordinator.close()
            self._coordinator = None

    def fold(self, keep: bool = False, few: bool = False) -> Cost:
        """Append spooled calls to `llm_calls`, then drop their segments unless they are to be kept; what they cost.

        `few` says that they are calls for few inputs (`are_few`).
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
        if few:
            known = known.join(F.broadcast(calls.select("id")), "id", "left_semi")
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
        fresh = checkpointed(self._tables.conform(rows, "llm_calls", {}))
        billed = [F.sum(F.col(name) * price_share("teacher")) for name in TOKENS]
        added = fresh.agg(F.count("*"), *map(F.sum, TOKENS), *billed).collect()[0]
        if added[0]:
            self._tables.append(fresh, "llm_calls", {"stage": "llm_calls"})
        if not keep:
            remove_segments(segments)
        count, tokens_in, tokens_out, tokens_cached, *paid = (number or 0 for number in added)
        return Cost(count, tokens_in, tokens_out, tokens_cached, billed=paid)

    def fulfil(self, stage: str, task: str, inputs: DataFrame, follow_ups: Follow = ()) -> Fulfilled:
        """Serve `inputs` (input_id, document, variables) from the ledger, sending only what it lacks.

        With `follow_ups` those are asked, in their order, behind each answer that leaves something to ask. An input
        waits while a follow-up of it does; one that failed for good leaves the reply as it is. Stages that run beside
        each other take turns. Raises ServiceRefused when the service refuses us, BudgetReached when the budget is used
        up; what was answered until then is kept.
        """
        with self._one_at_a_time:
            llm, few = self._settings.of(stage), are_few(inputs)
            served = self._serve(stage, task, llm, self._requests(task, llm, inputs), few, follow_ups)
            for number, wanted in enumerate(follow_ups, 1):
                asked = _following(served.known, task, wanted)
                behind = wanted.behind(follow_ups[number:])
                further = self._serve(stage, wanted.task, llm, asked, few, behind, chained=served.lacked)
                served = _followed(served, further, wanted)
            return Fulfilled(_replies(served.known), served.waiting, served.cost)

    def follow_ups(self, stage: str, task: str, wanted: Follow, inputs: DataFrame) -> list[DataFrame]:
        """REQUEST_DDL rows of each follow-up to those of `inputs` that the ledger answers; no call is made.

        What follows a second draw that is still to be made is told of the first answer.
        """
        llm = self._settings.of(stage)
        known, made = self._settled(self._requests(task, llm, inputs), task, llm), []
        for one in wanted:
            made.append(_following(known, task, one))
            if one.redraws:
                known = _standing(known, self._settled(made[-1], task, llm), one)
        return made

    def _requests(self, task: str, llm: LlmSettings, inputs: DataFrame) -> DataFrame:
        building: Any = build_requests(task, llm)
        return inputs.select("input_id", "document", "variables").mapInArrow(building, REQUEST_DDL)

    def _serve(
        self,
        stage: str,
        task: str,
        llm: LlmSettings,
        requests: DataFrame,
        few: bool,
        follow_ups: Follow = (),
        chained: DataFrame | None = None,
    ) -> _Served:
        """Requests (REQUEST_DDL) served from the ledger, what it lacks being sent first; `few` as `are_few` says.

        Calls for inputs among `chained` [input_id] were made just now behind another one: the ledger saved nothing.
        """
        session = requests.sparkSession
        if few:
            requests = checkpointed(requests)  # rendered once, though read for their keys and then for themselves
        known = checkpointed(self._settled(requests, task, llm, few))
        served, to_send, saved = already_known(known)
        if chained is not None:
            served, _, saved = already_known(known.join(chained, "input_id", "left_anti"))
        lacked = known.where(F.col("status").isNull()).select("input_id")
        cost, waiting = Cost(), None
        if to_send:
            if not self._serving.sealed:
                pending = known.where(F.col("status").isNull())
                self._instead[stage] = priced(Cost(), served, saved, price_of(llm))
                cost = self._ask(stage, task, pending, to_send, few, follow_ups)
            sent = known.select(*[name for name in requests.columns if name != "messages"])
            known = checkpointed(self._settled(sent, task, llm, few))
            if not known.where(F.col("status").isNull()).isEmpty():
                # Now: a follow-up's calls may collect the batches that it names, and drop their files.
                waiting = checkpointed(self._waiting(known, stage, session))
        if self._serving.show is not None:
            told = known.select("key", "status", "reason").join(
                recorded(self._tables.read("llm_calls", session)), "key", "left"
            )
            self._serving.show(stage, requests.select("key", "messages").join(told, "key"))
        return _Served(known, lacked, waiting, priced(cost, served, saved, price_of(llm)))

    def forget_failures(self, stage: str, calls: DataFrame) -> None:
        """Drop the lasting failures among `calls` [call_id] of a stage and what was asked further behind them.

        They are made again when they are asked for; failures beside them, of follow-ups say, stay.
        """
        if not self._tables.exists("llm_calls"):
            return
        made = self._tables.read("llm_calls")
        of = F.coalesce("parent_key", "key")
        asked = (
            made.join(calls.select(F.col("call_id").alias("id")), "id", "left_semi").select(of.alias("of")).distinct()
        )
        again = made.withColumn("of", of).where(F.col("status") == "lasting").join(asked, "of", "left_semi")
        self._tables.remove("llm_calls", checkpointed(again.select("id")), {"stage": stage})

    def _settled(self, requests: DataFrame, task: str, llm: LlmSettings, few: bool = False) -> DataFrame:
        """Each request with what the ledger says: ok, lasting, or null where there is something to send."""
        calls = self._tables.read("llm_calls", requests.sparkSession)
        return settled_requests(requests, calls, task, llm.raised_max_tokens > 0, few)

    def _ask(self, stage: str, task: str, pending: DataFrame, calls: int, few: bool, follow_ups: Follow) -> Cost:
        """Get what is missing in the way that the settings name; what lies in a batch already is not asked again."""
        llm = self._settings.of(stage)
        wanted = pending.dropDuplicates(["key"]).drop(
            "status", "reason", "text", "teacher", "model", "call_id", *TOKENS
        )
        asked = wanted.drop("further", "known_text")

        def still_missing() -> DataFrame:
            known = self._settled(asked, task, llm, few)
            return checkpointed(known.where(F.col("status").isNull()).select(*wanted.columns))

        if llm.teacher == BATCH:
            return self.batches.fulfil(stage, task, llm, still_missing)
        if not self.batches.outstanding(stage):
            return self._send(stage, wanted, calls, few, follow_ups)
        cost = self.batches.take_in(stage, llm)
        left = self.batches.not_outstanding(stage, still_missing())
        return cost + self._send(stage, left, left.count(), few, follow_ups)

    def _send(self, stage: str, distinct: DataFrame, calls: int, few: bool, follow_ups: Follow) -> Cost:
        """Send each of these requests once; calls on one document run back to back in one task, follow-ups included."""
        llm, session = self._settings.of(stage), distinct.sparkSession
        parts = session.sparkContext.defaultParallelism
        spread = distinct.repartition(parts, F.coalesce("document", "key")).sortWithinPartitions("document", "key")
        calls = (1 + len(follow_ups)) * calls  # at most: not every answer leaves something to ask
        self._to_send[stage] = calls
        coordinator = self._coordinate(llm)
        proven = llm.teacher != "offline" and self._answered(stage, canonical_json(call_parameters(llm)))
        if coordinator is not None:
            instead = self._instead.pop(stage, Cost())
            coordinator.expect(stage, calls, instead.served, instead.saved_ledger or 0.0, proven)
        where = None if coordinator is None else coordinator.address
        run_id, tokenizer = self._tables.run_id, self._tokenizer
        act: Any = send(
            llm,
            self._spool,
            stage,
            run_id,
            tokenizer=tokenizer,
            coordinator=where,
            follow_ups=follow_ups,
            proven=proven,
        )
        ended = spread.mapInArrow(act, OUTCOME_DDL).groupBy("status", "error_kind").agg(F.first("error").alias("error"))
        try:
            ends = ended.collect()
        except BaseException:
            self.fold(keep=True)  # tasks beside the one that failed may write their last replies yet
            raise
        cost = self.fold(few=few)
        fatal = [row for row in ends if row["status"] == "fatal"]
        if fatal:
            raise ServiceRefused(refusal(stage, llm, fatal[0]["error_kind"], fatal[0]["error"]))
        for row in ends:
            if row["error_kind"] == ErrorKind.BUDGET:
                raise BudgetReached(
                    f"stage {stage}: {row['error']}. Nothing more was sent and all that was answered is kept; run "
                    "again to go on with a budget of the same size, or a larger one."
                )
        return cost

    def _answered(self, stage: str, parameters: str) -> bool:
        """Whether the ledger holds an answer to a request of the stage with these parameters."""
        same = (F.col("stage") == stage) & (F.col("status") == "ok") & (F.col("parameters") == parameters)
        return not self._tables.read("llm_calls").where(same).isEmpty()

    def _coordinate(self, llm: LlmSettings) -> Coordinator | None:
        """The coordinator of this run's calls, started with the first of them; the offline teacher needs none."""
        if llm.teacher == "offline":
            return None
        if self._coordinator is None:
            context = self._tables.spark.sparkContext
            host = context.getConf().get("spark.driver.host", "127.0.0.1")
            port = self._settings.coordinator_port
            self._coordinator = Coordinator(str(host), port, self._budget, self._settings.of, self._say)
        return self._coordinator

    def _waiting(self, known: DataFrame, stage: str, session: SparkSession) -> DataFrame:
        """Inputs without a served reply, with the passing error their call ended in."""
        mine = (F.col("stage") == stage) & (F.col("run_id") == self._tables.run_id)
        calls = self._tables.read("llm_calls", session).where(mine & (F.col("status") == "passing"))
        kinds = calls.groupBy(F.coalesce("parent_key", "key").alias("key")).agg(F.max("error_kind").alias("kind"))
        missing = known.where(F.col("status").isNull()).join(kinds, "key", "left")
        outstanding = self.batches.keys(stage, session)
        if outstanding is not None:
            at_provider = outstanding.withColumn("outstanding", F.lit(OUTSTANDING))
            missing = missing.join(at_provider, "key", "left").withColumn("kind", F.coalesce("outstanding", "kind"))
        other = F.lit(self.batches.refused.get(stage, "not_sent"))
        return missing.select("input_id", F.concat(F.lit("llm:"), F.coalesce("kind", other)).alias("reason"))


def _replies(known: DataFrame) -> DataFrame:
    """The settled ones among requests, as stages read them."""
    return known.where(F.col("status").isNotNull()).drop("messages", "further", "known_text", "document", *TOKENS)


def _following(known: DataFrame, task: str, wanted: Following) -> DataFrame:
    """REQUEST_DDL rows of the calls that follow settled ones."""
    making: Any = build_follow_ups(task, wanted)
    answered = known.where(F.col("status") == "ok")
    return answered.select("input_id", "document", "variables", "parameters", "text").mapInArrow(making, REQUEST_DDL)


def _followed(first: _Served, further: _Served, wanted: Following) -> _Served:
    """Requests with their follow-ups: second draws in the place of first ones, replies of other tasks beside them."""
    if wanted.redraws:
        known = _standing(first.known, further.known, wanted)
    else:
        told = _replies(further.known).select(
            "input_id", F.col("text").alias("further_text"), F.col("call_id").alias("further_call")
        )
        known = first.known.join(told, "input_id", "left")
    waiting = first.waiting
    if further.waiting is not None:
        waiting = further.waiting if waiting is None else waiting.unionByName(further.waiting)
        known = known.join(further.waiting, "input_id", "left_anti")
    lacked = first.lacked.unionByName(further.lacked).distinct()
    return _Served(known, lacked, waiting, first.cost.beside(further.cost))


def _standing(first: DataFrame, second: DataFrame, wanted: Following) -> DataFrame:
    """Of settled first and second draws those that stand, with `draw` and the call of the other as `other_call`."""
    assert wanted.gates is not None
    judging: Any = passing(wanted.gates)
    answers = second.where(F.col("status") == "ok").select("input_id", "variables", "text")
    passed = checkpointed(answers.mapInArrow(judging, "input_id string"))  # now: quotes are looked for once

    def drawn(these: DataFrame, draw: int, others: DataFrame) -> DataFrame:
        other = others.select("input_id", F.col("call_id").alias("other_call"))
        return these.drop("messages").join(other, "input_id", "left").withColumn("draw", F.lit(draw))

    stays = drawn(first.join(passed, "input_id", "left_anti"), 1, second)
    return stays.unionByName(drawn(second.join(passed, "input_id", "left_semi"), 2, first))
