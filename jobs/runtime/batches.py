"""Batch mode: what a stage lacks goes out in batch files, and their results come in through the ledger.

It decides when to send, look and wait. What happens to one batch is told in `udfs.llm.batch`; results become calls in
the spool like any others.
"""

from __future__ import annotations

import posixpath
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from math import ceil
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from graphs.checkpoints import checkpointed
from jobs.runtime.costs import Cost
from jobs.runtime.errors import BudgetReached, ServiceRefused
from jobs.runtime.refusals import refusal
from jobs.runtime.tables import Tables
from udfs.llm.batch.client import ProviderFault
from udfs.llm.batch.store import BatchFile, BatchStore, Intent
from udfs.llm.batch.work import BatchWork, Collected, ResultsGone, Standing
from udfs.llm.batch.writing import FILE_DDL, Expected, read_keys, write_files
from udfs.llm.budget import Budget
from udfs.llm.context import MOST_CHARS_PER_TOKEN
from udfs.llm.expectation import FIRST_TOKENS_PER_CHAR
from udfs.llm.prices import batch_price, paid_price
from udfs.llm.requests import call_parameters, reply_limit
from udfs.llm.retry import RetryPolicy
from udfs.llm.sender import Sending
from udfs.llm.teacher import Reply
from udfs.llm.teachers import BATCH
from udfs.settings import LlmSettings, TokenizerSettings

OUTSTANDING = "batch_outstanding"  # why a row waits whose request lies in a batch
IDLE_ROUNDS = 2  # rounds of batches that settled nothing, after which the rest waits for another run
PER_TASK = 5_000  # requests that one Spark task writes, at least: fewer files are fewer batches to look at


class Batches:
    """The batches of one root and run. `fold` takes the spool into the ledger, `pause` sleeps and may raise."""

    def __init__(
        self,
        tables: Tables,
        tokenizer: TokenizerSettings,
        budget: Budget,
        spool: str,
        fold: Callable[[], Cost],
        say: Callable[[str], None],
        pause: Callable[[float], None],
        answered: Callable[[str, str], bool] = lambda stage, parameters: False,
    ) -> None:
        self._tables, self._tokenizer, self._budget, self._spool = tables, tokenizer, budget, spool
        self._fold, self._say, self._pause, self._answered = fold, say, pause, answered
        self.refused: dict[str, str] = {}  # stages whose newest files were refused for the moment: the kind of error
        self._held: set[str] = set()  # batches that this run's budget holds money back for
        self._told: dict[str, str] = {}
        self._spent: defaultdict[str, float] = defaultdict(float)  # USD that batches came to, by stage

    @cached_property
    def work(self) -> BatchWork:
        """What works on single batches; made when it is first needed."""
        folder = posixpath.join(self._tables.state, "_batches")
        return BatchWork(BatchStore(folder), self._spool, self._tables.run_id, answered=self._answered)

    def end(self) -> None:
        """Close all connections; may be called twice."""
        if "work" in self.__dict__:
            self.work.end()

    def outstanding(self, stage: str | None = None) -> list[Intent]:
        """Batches whose results are not in the ledger, of a stage or all."""
        return [intent for intent in self.work.store.intents(stage) if not intent.closed]

    def keys(self, stage: str, session: SparkSession) -> DataFrame | None:
        """[key] of the requests that lie in outstanding batches of a stage; None where there is none."""
        names = [(intent.name,) for intent in self.outstanding(stage)]
        if not names:
            return None
        reading: Any = read_keys(self.work.store.folder)
        return session.createDataFrame(names, "name string").mapInArrow(reading, "key string").distinct()

    def not_outstanding(self, stage: str, pending: DataFrame) -> DataFrame:
        """The requests that lie in no outstanding batch: whoever sends them pays for them once."""
        keys = self.keys(stage, pending.sparkSession)
        return pending if keys is None else checkpointed(pending.join(keys, "key", "left_anti"))

    def fulfil(self, stage: str, task: str, llm: LlmSettings, still_missing: Callable[[], DataFrame]) -> Cost:
        """Send what `still_missing` in batches, and take in what comes back within `llm.batch_wait_s`.

        Further calls, and requests that failed for the moment, go into another batch, `llm.batch_poll_s` later where a
        file was refused for the moment; what is outstanding at the end is collected by the next run. Raises
        ServiceRefused, and BudgetReached when not everything could be sent.
        """
        deadline = time.monotonic() + llm.batch_wait_s
        cost, before, idle, held_back = self.take_in(stage, llm), -1, 0, False
        self.refused.pop(stage, None)  # of an earlier run: by now there may be room
        while True:
            pending = still_missing()
            left = pending.count()
            idle = idle + 1 if left == before else 0
            if not left or idle == IDLE_ROUNDS or not self._waited_after_refusal(stage, llm, deadline):
                break
            before = left
            free = self.not_outstanding(stage, pending)
            sent, held_back = self._submit(stage, task, llm, free)
            cost += sent + self._await(stage, llm, deadline)
            if self.outstanding(stage):
                break
        self._give_up_waiting()
        if held_back:
            raise BudgetReached(
                f"stage {stage}: {_limits(llm)} would be exceeded. Nothing more was sent and all that was answered is "
                "kept; run again to go on with a budget of the same size, or a larger one."
            )
        return cost

    def take_in(self, stage: str, llm: LlmSettings) -> Cost:
        """Look at every batch of a stage once, and put the results of those that ended into the ledger.

        Raises ServiceRefused.
        """
        open_ones, ended = list[Standing](), list[tuple[Standing, Collected]]()
        for intent in self.work.store.intents(stage):
            self._tables.fence()
            try:
                standing = self.work.look(intent)
                collected = None if standing.outstanding else self.work.collect(standing)
            except ResultsGone as gone:
                raise ServiceRefused(_results_gone(intent, gone)) from None
            except ProviderFault as fault:
                raise _refusal(intent, llm, fault.reply) from None
            if collected is None:
                open_ones.append(standing)
            else:
                ended.append((standing, collected))
        cost, price = self._fold() if ended else Cost(), batch_price(llm)
        for standing, collected in ended:
            self.work.close(standing.intent)
            self._settle_budget(standing.intent, llm, collected)
            self._spent[stage] += price.cost(*collected.tokens) if price is not None else 0.0
            if standing.batch is not None:
                self._say(f"{stage}: batch {standing.batch.id} {standing.state}: {collected.line()}")
            if collected.refused is not None:
                self.refused[stage] = str(collected.refused.error_kind)
        for standing, collected in ended:
            if collected.fatal is not None:
                raise _refusal(standing.intent, llm, collected.fatal)
        self._tell(stage, open_ones, price is not None)
        return cost

    # -- sending ----------------------------------------------------------------------------------------

    def _submit(self, stage: str, task: str, llm: LlmSettings, free: DataFrame) -> tuple[Cost, bool]:
        """Write files of these requests and make batches of them; what was refused before it was sent, and whether the
        budget held some back."""
        expected = self._expected(task, llm, free.sparkSession)
        affordable, held_back = self._affordable(free, expected)
        count = affordable.count()
        if not count:
            return Cost(), held_back
        self.work.store.drop_strays()
        parts = min(free.sparkSession.sparkContext.defaultParallelism, ceil(count / PER_TASK))
        spread = affordable.repartition(parts, F.coalesce("document", "key")).sortWithinPartitions("document", "key")
        run_id = self._tables.run_id
        sending = Sending(
            llm, self._spool, stage, run_id, self._tokenizer, MOST_CHARS_PER_TOKEN, RetryPolicy(), None, None
        )
        writing: Any = write_files(sending, self.work.store.folder, expected)
        files = [BatchFile(**row.asDict()) for row in spread.mapInArrow(writing, FILE_DDL).collect()]
        for intent in self.work.intend(stage, llm, files):
            self._budget.enter(intent.file.expected_usd, intent.file.requests)
            self._held.add(intent.name)
        return self._fold(), held_back

    def _await(self, stage: str, llm: LlmSettings, deadline: float) -> Cost:
        """Look again and again until nothing is outstanding or the time is over."""
        cost = self.take_in(stage, llm)
        while self.outstanding(stage) and (left := deadline - time.monotonic()) > 0:
            self._pause(min(llm.batch_poll_s, left))
            cost += self.take_in(stage, llm)
        return cost

    def _waited_after_refusal(self, stage: str, llm: LlmSettings, deadline: float) -> bool:
        """Whether another round may be sent: what was refused for the moment waits first, if there is time for it."""
        if stage not in self.refused:
            return True
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        wait = min(llm.batch_poll_s, left)
        self._say(f"{stage}: what was refused is sent again in {wait:.0f} s")
        self._pause(wait)
        del self.refused[stage]
        return True

    def _expected(self, task: str, llm: LlmSettings, session: SparkSession) -> Expected:
        """What calls of a task are expected to come to: replies as long as those recorded, else the longest."""
        price, most = paid_price(llm), float(max(reply_limit(call_parameters(llm)), llm.raised_max_tokens))
        if llm.budget_usd and price is not None:
            calls = self._tables.read("llm_calls", session).where((F.col("task") == task) & (F.col("status") == "ok"))
            row = calls.agg(F.avg("tokens_out") + F.coalesce(F.stddev_samp("tokens_out"), F.lit(0.0))).collect()[0]
            most = most if row[0] is None else min(most, row[0])
        return Expected(FIRST_TOKENS_PER_CHAR, most, price)

    def _affordable(self, free: DataFrame, expected: Expected) -> tuple[DataFrame, bool]:
        """The requests that the budget allows, in the order of their keys, and whether some must stay behind."""
        calls, usd = self._budget.left()
        if calls is None and usd is None:
            return free, False
        chars = F.expr("aggregate(messages, 0L, (n, m) -> n + length(m.content)) + coalesce(length(known_text), 0)")
        price = 0.0, 0.0
        if expected.price is not None:
            price = expected.price.input / 1e6 * expected.tokens_per_char, expected.price.output / 1e6
        one = chars * price[0] + F.lit((expected.tokens_out + 1) * price[1])
        in_order = Window.orderBy("key")
        costs = free.select("key", one.alias("usd")).select(
            "key", F.row_number().over(in_order).alias("number"), F.sum("usd").over(in_order).alias("together")
        )
        within = F.lit(True)
        if calls is not None:
            within &= F.col("number") <= calls
        if usd is not None:
            within &= F.col("together") <= usd
        chosen = checkpointed(costs.select("key", within.alias("within")))
        if chosen.where(~F.col("within")).isEmpty():
            return free, False
        return free.join(chosen.where("within").select("key"), "key", "left_semi"), True

    # -- accounts ---------------------------------------------------------------------------------------

    def _settle_budget(self, intent: Intent, llm: LlmSettings, collected: Collected) -> None:
        """Put what a batch cost in place of what was held back for it; what another run sent is not this one's."""
        if intent.name not in self._held:
            return
        self._held.discard(intent.name)
        price = paid_price(llm)
        actual = price.cost(*collected.tokens) if price is not None else 0.0
        self._budget.leave(intent.file.expected_usd, actual, intent.file.requests)

    def _give_up_waiting(self) -> None:
        """Take what is still outstanding for spent as expected: calls of later stages need not wait to know."""
        for intent in self.outstanding():
            if intent.name in self._held:
                self._held.discard(intent.name)
                self._budget.leave(intent.file.expected_usd, intent.file.expected_usd, intent.file.requests)

    def _tell(self, stage: str, standings: list[Standing], priced: bool) -> None:
        """A line when what is outstanding has changed, with the money of what is in where the price is known."""
        if not standings:
            return
        total = sum(standing.intent.file.requests for standing in standings)
        line = f"{stage}: {len(standings)} batches outstanding, {sum(s.done for s in standings):,} of {total:,} done"
        line += f", {self._spent[stage]:,.2f} USD spent" if priced else ""
        faults = {standing.fault.error for standing in standings if standing.fault is not None}
        line += "".join(f"; {fault}" for fault in sorted(filter(None, faults)))
        if self._told.get(stage) != line:
            self._told[stage] = line
            self._say(line)


def _refusal(intent: Intent, llm: LlmSettings, reply: Reply) -> ServiceRefused:
    """Why the batches of a stage stop, told of the endpoint where they lie, which the settings may name no more."""
    there = {"base_url": intent.endpoint.base_url, "api_key_env": intent.endpoint.api_key_env, "teacher": BATCH}
    return ServiceRefused(refusal(intent.stage, llm.model_copy(update=there), str(reply.error_kind), reply.error or ""))


def _results_gone(intent: Intent, gone: ResultsGone) -> str:
    """What to do about a batch that ended and whose results the provider has no more."""
    return (
        f"stage {intent.stage}: the service at {intent.endpoint.base_url} has no longer the results of batch "
        f"{intent.batch_id} ({gone}). No further call was sent and nothing else is lost. `jobs/ledger.py batches "
        "--cancel` gives this batch up, and ends those that still run; what it alone had answered is then asked, and "
        "paid, once more."
    )


def _limits(llm: LlmSettings) -> str:
    """The limits that are set, as the settings name them."""
    limits = {"llm.budget_calls": llm.budget_calls, "llm.budget_usd": llm.budget_usd}
    return " or ".join(f"{name} {limit:g}" for name, limit in limits.items() if limit)
