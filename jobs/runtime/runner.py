"""Runs one stage: reads its tables, calls its pure function, checks and writes what comes back.

It knows the four modes and the stage contract; which stages exist and in what order is not its business.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

import sql
from graphs.checkpoints import checkpointed
from jobs.runtime.accounting import DEFER, add_cost, count_batch, count_rows
from jobs.runtime.batches import OUTSTANDING
from jobs.runtime.errors import AnswersWaiting, BatchesOutstanding, GateStop
from jobs.runtime.file_faults import name_file_faults
from jobs.runtime.history import Execution, History
from jobs.runtime.ledger import Ledger
from jobs.runtime.recipes import identity, recipe
from jobs.runtime.resuming import Place, go_on
from jobs.runtime.settings import Settings
from jobs.runtime.stage import Shared, Stage, all_rows_parameters, fitted_parameters, keywords, positional
from jobs.runtime.summary import StageTally, Summary
from jobs.runtime.tables import Once, Tables
from jobs.runtime.tombstones import EXECUTION as FORGET
from jobs.runtime.tombstones import reject_forgotten
from udfs.models.errors import TooFewRows


@dataclass
class Runner:
    """Executes stages against one root."""

    spark: SparkSession
    settings: Settings
    tables: Tables
    ledger: Ledger
    history: History
    summary: Summary
    say: Callable[[str], None]
    executed: list[tuple[Execution, StageTally]] = field(default_factory=list)
    running: Callable[[str], AbstractContextManager[None]] = lambda stage: nullcontext()
    ahead: Callable[[str], Collection[str]] = lambda stage: ()  # the stages that a stage's rows come from

    def run(self, stage: Stage, wanted: DataFrame | None = None) -> StageTally:
        """Bring the stage's table up to date; nothing is started when nothing changed."""
        made_from = self.recipe(stage)
        inputs = {name: self.tables.version(name) for name in stage.tables}
        if wanted is None and self.unchanged(stage):
            return self.skip(stage, "unchanged")
        if stage.driving is not None and not self.tables.exists(stage.driving):
            return self.skip(stage, "no input")
        started = time.monotonic()
        tally = StageTally(stage.name)
        run = {"streams": self._stream, "fits": self._fit, "replaces": self._replace, "tops_up": self._top_up}
        with self.running(stage.name):
            run[stage.mode](stage, tally, wanted)
        tally.seconds = time.monotonic() - started
        tally.require_balance()
        self._record(stage, tally, made_from, inputs)
        return tally

    def recipe(self, stage: Stage) -> dict[str, Any]:
        """What makes the rows of the stage under these settings."""
        return recipe(stage, self.settings)

    # -- the four modes ---------------------------------------------------------------------------------

    def _stream(self, stage: Stage, tally: StageTally, wanted: DataFrame | None) -> None:
        """Feed the open deferrals, then every new row of the driving table, through the stage."""
        self._retry_deferred(stage, tally)
        go_on(self.tables, self.history, stage, partial(self._read_on, stage, tally))

    def _read_on(self, stage: Stage, tally: StageTally, place: Place) -> None:
        """Feed what is new at a place through the stage. Raises StreamingQueryException where it cannot go on."""
        app = f"longloom/{stage.name}/{place.mark}"
        failure: list[BaseException] = []

        def on_batch(batch: DataFrame, batch_id: int) -> None:
            try:
                rows = self._driving(stage, self._standing(stage, batch))
                # Files of the other kind wake a stage as well; only a table's first commit says something by itself.
                if stage.where and self.tables.exists(stage.name) and rows.isEmpty():
                    return
                self._batch(stage, rows, tally, Once(app, batch_id), f"{place.mark}-{batch_id}")
            except BaseException as error:
                failure.append(error)
                raise

        # A kill while the first offset is written leaves its unfinished file, and Spark would refuse to start for it.
        self.tables.spark.conf.set("spark.sql.streaming.verifyCheckpointDirectoryEmptyOnStart", "false")
        writer = self.tables.stream(str(stage.driving), place.first).writeStream.queryName(stage.name)
        writer = writer.trigger(availableNow=True).option("checkpointLocation", place.checkpoint)
        query: StreamingQuery = writer.foreachBatch(on_batch).start()
        try:
            query.awaitTermination()
        except Exception:
            if failure:  # Spark wraps what happened in the batch; the first cause is the useful one
                raise failure[0] from None
            raise

    def _retry_deferred(self, stage: Stage, tally: StageTally) -> None:
        """Open deferrals go through the same function; what is resolved is closed."""
        if not self.tables.exists("deferrals"):
            return
        waits = self.history.open_deferrals(stage.name).persist()
        try:
            if waits.isEmpty():
                return
            ids = waits.select(F.col("input_id").alias("id"))
            rows = self._driving(stage, self.tables.read(str(stage.driving))).join(ids, "id", "left_semi")
            epoch, number = self.history.epoch(stage.name), self.history.next_pass(stage.name)
            once = Once(f"longloom/{stage.name}/{epoch}/deferred", number)
            again = self._batch(stage, rows, tally, once, f"{epoch}-deferred-{number}", number)
            self._close(stage, waits, again, number)
        finally:
            waits.unpersist()

    def _close(self, stage: Stage, waits: DataFrame, again: DataFrame, number: int) -> None:
        """What waited and does not wait again is closed by pass `number`."""
        closed = checkpointed(waits.select("input_id").join(again, "input_id", "left_anti"))
        if not closed.isEmpty():
            self.history.defer(stage.name, closed.withColumn("reason", F.lit(None).cast("string")), number)

    def _fit(self, stage: Stage, tally: StageTally, wanted: DataFrame | None) -> None:
        """Fit once; a fitted table stays as it is until `--refit`."""
        fitted = self.history.last(stage.name) is not None  # in this epoch
        if self.tables.exists(stage.name) and (fitted or not self.tables.read(stage.name).isEmpty()):
            tally.state = "frozen"
            return
        self._require_all_collected(stage)
        arguments = self._arguments(stage, stage.function, self.spark, None)
        if "teach" in keywords(stage.function):
            arguments["teach"] = self._teacher(stage, tally)
        try:
            rows = checkpointed(stage.function(**arguments))
        except TooFewRows as error:
            raise GateStop(f"{stage.name}: {error}; then run again.") from error
        tally.rows_in = tally.kept = arguments[str(stage.driving)].count()
        self._write_whole(stage, rows, tally)

    def _require_all_collected(self, stage: Stage) -> None:
        """What is fitted once must not be fitted on the rows that happen to be back.

        Batches of a stage that runs beside it bring none. Calls that failed are waited for once: what fails twice may
        fail for ever. Raises BatchesOutstanding or AnswersWaiting.
        """
        ahead = self.ahead(stage.name)
        asked = sorted({intent.stage for intent in self.ledger.batches.outstanding() if intent.stage in ahead})
        if asked:
            raise BatchesOutstanding(
                f"{stage.name} is fitted once, so it waits for the outstanding batches of {', '.join(asked)}; run again"
            )
        if failed := self.history.failed_once([name for name in stage.tables if name in ahead]):
            raise AnswersWaiting(
                f"{stage.name} is fitted once, so it waits for failed calls of {', '.join(failed)}; run again"
            )

    def _replace(self, stage: Stage, tally: StageTally, wanted: DataFrame | None) -> None:
        """Recompute the whole table."""
        rows = checkpointed(_finished(stage.function(**self._arguments(stage, stage.function, self.spark, None))))
        count_rows(rows, tally)
        self._write_whole(stage, rows, tally)

    def _top_up(self, stage: Stage, tally: StageTally, wanted: DataFrame | None) -> None:
        """Append the next candidates, as many as the round wants; those that waited are among them, or not wanted."""
        waited = stage.ask is not None and self.tables.exists("deferrals")
        number = self.history.next_pass(stage.name) if waited else 0
        again = self._batch(stage, None, tally, None, "", number, wanted)
        if waited:
            self._close(stage, self.history.open_deferrals(stage.name), again, number)

    # -- one batch --------------------------------------------------------------------------------------

    def _batch(
        self,
        stage: Stage,
        driving: DataFrame | None,
        tally: StageTally,
        once: Once | None,
        mark: str,
        deferred_pass: int = 0,
        wanted: DataFrame | None = None,
    ) -> DataFrame:
        """Run the stage over `driving`, write its outputs, return what was deferred [input_id, …]."""
        session = driving.sparkSession if driving is not None else self.spark
        done = StageTally(stage.name)
        rows, waits = self._outputs(stage, driving, session, done, wanted)
        outputs = rows if isinstance(rows, dict) else {stage.name: rows}
        added = {"run_id": self.tables.run_id, "recipe": identity(self.recipe(stage)), "batch": mark}
        # Checkpointed, not cached: short plans from here on, and nothing is computed again when a table it read grows.
        rows = self.tables.conform(outputs[stage.name], stage.name, added)
        main = checkpointed(reject_forgotten(self.tables, stage.name, rows))
        held = main.where(F.col("reject_reason").startswith(DEFER))
        ready = main.where(F.col("reject_reason").isNull() | ~F.col("reject_reason").startswith(DEFER))
        count_batch(stage, main, driving, waits, done)
        # A crash after a deferral leaves its row in two places: the open deferral and the batch to be replayed.
        # A row of counts has the id of its key in every batch: its transaction alone keeps it from coming twice.
        may_repeat = stage.dedupe or stage.mode == "tops_up" or self.tables.exists("deferrals")
        if may_repeat and "batch" not in ready.columns:
            ready = checkpointed(self._unseen(stage.name, ready, session))
            done.out = ready.count()  # now: once they are written, no row is unseen
        self._gate(stage, ready)
        waits = self._waits(held, waits)
        if done.deferred:
            self.history.defer(stage.name, waits, deferred_pass)
        # Now: the calls they wait for may be made.
        again = checkpointed(waits.select("input_id")) if deferred_pass else waits
        name_file_faults(self.summary, done.reasons, ready, held)
        # A commit without a row would wake every stage behind; only a table's first one says something by itself.
        self._write(stage, outputs, ready if done.out or not self.tables.exists(stage.name) else None, added, once)
        tally.add(done)
        return again

    def _outputs(
        self,
        stage: Stage,
        driving: DataFrame | None,
        session: SparkSession,
        done: StageTally,
        wanted: DataFrame | None,
    ) -> tuple[Any, DataFrame | None]:
        """The stage's frames, and (input_id, reason) of inputs whose call must wait."""
        waiting = None
        arguments = self._arguments(stage, stage.function, session, driving, wanted)
        if stage.ask is not None:
            asked = stage.ask(**self._arguments(stage, stage.ask, session, driving, wanted))
            answer = self.ledger.fulfil(stage.name, str(stage.task), asked, stage.following(self.settings))
            add_cost(done, answer.cost)
            arguments["replies"], waiting = answer.replies, answer.waiting
        return _finished(stage.function(**arguments)), waiting

    def _write(
        self,
        stage: Stage,
        outputs: Mapping[str, DataFrame],
        ready: DataFrame | None,
        added: dict[str, Any],
        once: Once | None,
    ) -> None:
        """Append further tables, then what is ready, in commits that a replay of the batch does not repeat."""
        note = {"stage": stage.name}
        for name in stage.also:
            frame = self.tables.conform(outputs[name], name, added)
            self.tables.append(self._unseen(name, frame, frame.sparkSession), name, note, once)
        if ready is not None:
            self.tables.append(ready, stage.name, note, once)

    def _write_whole(self, stage: Stage, rows: DataFrame, tally: StageTally) -> None:
        added = {"run_id": self.tables.run_id, "recipe": identity(self.recipe(stage)), "batch": ""}
        conformed = self.tables.conform(rows, stage.name, added)
        self._gate(stage, conformed)
        self.tables.replace(conformed, stage.name, {"stage": stage.name})
        tally.out = conformed.count()

    def _gate(self, stage: Stage, rows: DataFrame) -> None:
        """Run the table's checks before its rows are written: what fails a gate is never stored.

        Raises GateStop with every failed sentence.
        """
        failed = []
        for check, count in sql.failed_checks(stage.name, rows):
            sentence = f"{stage.name}: {check.message}" + (f" ({count} rows)" if count > 1 else "")
            if check.level == "warn":
                self.summary.warn(sentence)
            else:
                failed.append(sentence)
        if failed:
            raise GateStop("; ".join(failed) + f". Nothing of this batch of {stage.name} was written.")

    # -- small parts ------------------------------------------------------------------------------------

    def _driving(self, stage: Stage, rows: DataFrame) -> DataFrame:
        kept = rows.where(F.col("reject_reason").isNull())
        return kept.where(stage.where) if stage.where else kept

    def _standing(self, stage: Stage, batch: DataFrame) -> DataFrame:
        """Without rows forgotten before the stream came to read them: it still reads the commit that appended them."""
        if not self.history.older(stage.name, FORGET):
            return batch
        return batch.join(self.tables.kept(str(stage.driving), batch.sparkSession).select("id"), "id", "left_semi")

    def _arguments(
        self,
        stage: Stage,
        function: Callable[..., Any],
        session: SparkSession,
        driving: DataFrame | None,
        wanted: DataFrame | None = None,
    ) -> dict[str, Any]:
        """Frames and settings by the function's own parameter names."""
        fitted, every = fitted_parameters(function), all_rows_parameters(function)
        arguments: dict[str, Any] = {}
        for name in positional(function):
            if name == "replies":
                continue
            table = stage.name if name == "previous" else name
            if name == stage.driving and driving is not None:
                arguments[name] = driving
            elif name in every or stage.mode == "replaces":
                arguments[name] = self.tables.read(table, session)
            else:
                frame = self.tables.kept(table, session)
                arguments[name] = frame.collect() if name in fitted else frame
        specials: dict[str, Any] = {"seed": self.settings.seed, "wanted": wanted}
        specials["llm"] = self.settings.llm.of(stage.name)
        specials["epoch"] = self.history.epoch(stage.name)
        specials["versions"] = {name: self.tables.version(name) for name in stage.tables}
        for name in keywords(function):
            if name != "teach":
                arguments[name] = specials[name] if name in specials else getattr(self.settings, name)
        return arguments

    def _teacher(self, stage: Stage, cost: StageTally) -> Callable[[str, DataFrame], DataFrame]:
        """How a fit asks the teacher; a fit cannot wait, so a passing failure stops it."""

        def teach(task: str, inputs: DataFrame) -> DataFrame:
            answer = self.ledger.fulfil(stage.name, task, inputs)
            add_cost(cost, answer.cost)
            if answer.waiting is not None:
                reasons = sorted(row["reason"] for row in answer.waiting.select("reason").distinct().collect())
                if f"llm:{OUTSTANDING}" in reasons:
                    raise BatchesOutstanding(f"{stage.name}: its batches are outstanding; the next run collects them")
                raise AnswersWaiting(f"{stage.name}: the teacher did not answer ({reasons[0]}); run again to go on.")
            return answer.replies

        return teach

    def _unseen(self, name: str, rows: DataFrame, session: SparkSession) -> DataFrame:
        """Rows whose id is not stored yet: a row written twice would be a row too many."""
        if not self.tables.exists(name):
            return rows
        return rows.join(self.tables.read(name, session).select("id"), "id", "left_anti").select(*rows.columns)

    def _waits(self, held: DataFrame, waits: DataFrame | None) -> DataFrame:
        own = held.select(
            F.col("parent_ids")[0].alias("input_id"), F.expr(f"substr(reject_reason, {len(DEFER) + 1})").alias("reason")
        ).dropDuplicates(["input_id"])
        return own if waits is None else own.unionByName(waits)

    def unchanged(self, stage: Stage) -> bool:
        """True when inputs and recipe equal those of the last execution, and nothing waits.

        Where no row waits, a stream has nothing to do until its driving table grows, whatever became of the others.
        """
        last = self.history.last(stage.name)
        if last is None or last.recipe != identity(self.recipe(stage)):
            return False
        read = [str(stage.driving)] if stage.mode == "streams" else list(stage.tables)
        if any(last.inputs.get(name) != self.tables.version(name) for name in read):
            return False
        return last.state != "deferred" and last.detail == self._beyond_recipe(stage)

    def _beyond_recipe(self, stage: Stage) -> dict[str, Any]:
        """Settings outside the recipe that still change what a recomputed table holds."""
        counts = self.settings.targets.model_dump(exclude={"expected_acceptance"})  # which older roots do not know
        return {"targets": counts} if "targets" in stage.sections else {}

    def skip(self, stage: Stage, state: str) -> StageTally:
        """Note that a stage had nothing to do."""
        tally = StageTally(stage.name, state=state)
        self.summary.tally(tally)
        return tally

    def _record(self, stage: Stage, tally: StageTally, made_from: Mapping[str, Any], inputs: Mapping[str, int]) -> None:
        state = "deferred" if tally.deferred else tally.state
        done = Execution(
            stage.name,
            self.history.epoch(stage.name),
            identity(made_from),
            made_from,
            inputs,
            self.tables.version(stage.name),
            state,
            self._beyond_recipe(stage),
        )
        self.history.record(done, tally)
        self.executed.append((done, tally))
        self.summary.tally(tally)
        reasons = ", ".join(f"{code} {count}" for code, count in Counter(tally.reasons).most_common(3))
        self.say(
            f"{stage.name:<20} {tally.rows_in:>8,} in  {tally.kept:>8,} kept  {tally.rejected:>7,} rejected  "
            f"{tally.deferred:>5,} deferred  {tally.calls:>6,} calls  {tally.seconds:6.1f} s"
            + (f"  {reasons}" if reasons else "")
        )


def _finished(made: Any) -> Any:
    """What a stage returned, made from its costly frame where it shares one."""
    return made.finish(checkpointed(made.base)) if isinstance(made, Shared) else made
