"""What happened on a root before: executions of stages, epochs, rows that wait.

Reads and writes `stage_runs` and `deferrals`; it decides nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.summary import StageTally
from jobs.runtime.tables import Tables

ROUNDS = "rounds"  # stage name under which the end of the rounds stands in `stage_runs`


@dataclass(frozen=True)
class Execution:
    """One finished execution of a stage."""

    stage: str
    epoch: int
    recipe: str
    made_from: Mapping[str, Any]
    inputs: Mapping[str, int]
    output_version: int
    state: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class History:
    """Executions and deferrals of a root; new executions are kept in memory until `flush`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._last: dict[str, Execution] = {}
        self._epochs: dict[str, int] = {}
        self._ran: dict[str, int] = {}  # sequence of each stage's newest execution, mere notes left out
        self._waiting: list[dict[str, Any]] = []
        self._order = 0
        self._recording = threading.Lock()  # stages run two at a time
        self._to_empty: list[str] = []
        self._load()

    @property
    def tables(self) -> Tables:
        """The tables of the root."""
        return self._tables

    def last(self, stage: str) -> Execution | None:
        """The newest execution of a stage in its current epoch."""
        found = self._last.get(stage)
        return found if found is not None and found.epoch == self.epoch(stage) else None

    def epoch(self, stage: str) -> int:
        return self._epochs.get(stage, 0)

    def stages(self) -> list[str]:
        """Everything that was ever executed on the root, by name."""
        return sorted(self._last)

    def older(self, stage: str, other: str) -> bool:
        """Whether `other` was executed after the newest execution of `stage`."""
        return self._ran.get(other, 0) > self._ran.get(stage, 0)

    def record(self, done: Execution, tally: StageTally) -> None:
        """Note an execution; durable after `flush`."""
        with self._recording:
            self._last[done.stage] = done
            self._epochs[done.stage] = max(self.epoch(done.stage), done.epoch)
            self._order += 1
            if tally.seconds > 0:
                self._ran[done.stage] = self._order
            self._waiting.append(
                {
                    "id": _execution_id(self._tables.run_id, done.stage, self._order),
                    "parent_ids": [],
                    "reject_reason": None,
                    "run_id": self._tables.run_id,
                    "recipe": done.recipe,
                    "stage": done.stage,
                    "epoch": done.epoch,
                    "sequence": self._order,
                    "state": done.state,
                    "made_from": json.dumps(done.made_from, sort_keys=True),
                    "inputs": dict(done.inputs),
                    "output_version": done.output_version,
                    "rows_in": tally.rows_in,
                    "kept": tally.kept,
                    "rejected": tally.rejected,
                    "deferred": tally.deferred,
                    "rows_out": tally.out,
                    "reasons": dict(tally.reasons),
                    "calls": tally.calls,
                    "tokens_in": tally.tokens_in,
                    "tokens_out": tally.tokens_out,
                    "seconds": tally.seconds,
                    "detail": json.dumps(done.detail, sort_keys=True),
                }
            )

    def carry(self, stages: Sequence[str], before: Mapping[str, int], after: Mapping[str, int]) -> None:
        """Note executions that read tables at versions `before` as having read `after`, which brought them no new row.

        A stage that was up to date stays so.
        """
        for name in stages:
            last = self.last(name)
            if last is None:
                continue
            fresh = {table for table, version in last.inputs.items() if version == before.get(table)}
            inputs = {table: after[table] if table in fresh else version for table, version in last.inputs.items()}
            if inputs != dict(last.inputs):
                output = last.output_version
                output = after[name] if output == before.get(name) else output
                self.record(replace(last, inputs=inputs, output_version=output), StageTally(name))

    def flush(self) -> None:
        """Append what was recorded since the last flush."""
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        frame = self._tables.spark.createDataFrame(rows, sql.columns("stage_runs"))
        self._tables.append(frame, "stage_runs", {"stage": "stage_runs"})

    def start_epoch(self, names: Sequence[str]) -> None:
        """Begin a new epoch for each name, durably, while the rows of the old one are still there."""
        self._to_empty = list(dict.fromkeys([*self._to_empty, *names]))
        self._mark(names, "reset", 1)

    @property
    def to_empty(self) -> Sequence[str]:
        """Names whose new epoch began and whose old rows may still be there: a run may have died between the two."""
        return tuple(self._to_empty)

    def emptied(self) -> None:
        """Note, durably, that the old rows are gone; only now may rows of the new epoch be written."""
        self._mark(self._to_empty, "emptied", 0)
        self._to_empty = []

    def reopen(self, stage: str) -> None:
        """Have a stage run once more, durably, although nothing it reads has changed: rows of its own are to wait."""
        last = self.last(stage)
        if last is not None:
            self.record(replace(last, state="deferred"), StageTally(stage))
            self.flush()

    def let_go(self, stage: str) -> None:
        """Close what waits for a stage, durably: it is not wanted any more."""
        last = self.last(stage)
        if last is None or last.state != "deferred":
            return
        waits = self.open_deferrals(stage).select("input_id", F.lit(None).cast("string").alias("reason"))
        self.defer(stage, waits, self.next_pass(stage))
        self.record(replace(last, state="done"), StageTally(stage))
        self.flush()

    def open_deferrals(self, stage: str) -> DataFrame:
        """Ids that wait in the current epoch: (input_id, reason), each id's newest row."""
        newest = newest_deferrals(self._deferrals(stage)).select("input_id", "reason")
        return newest.where(F.col("reason").isNotNull())

    def waiting(self) -> dict[str, int]:
        """How many rows wait for each stage in its current epoch; stages for which none waits are left out."""
        if not self._tables.exists("deferrals"):
            return {}
        newest = newest_deferrals(self._tables.read("deferrals"))
        counts = newest.where("reason IS NOT NULL").groupBy("stage", "epoch").count().collect()
        return {row["stage"]: row["count"] for row in counts if row["epoch"] == self.epoch(row["stage"])}

    def failed_once(self, stages: Iterable[str]) -> list[str]:
        """Which of these stages have rows whose call failed for now and was tried in one pass alone."""
        if not self._tables.exists("deferrals"):
            return []
        deferrals = self._tables.read("deferrals").where(F.col("stage").isin(*stages))
        newest = newest_deferrals(deferrals, F.count_distinct("pass").alias("passes"))
        found = newest.where("reason LIKE 'llm:%' AND passes = 1").select("stage", "epoch").distinct().collect()
        return sorted(row["stage"] for row in found if row["epoch"] == self.epoch(row["stage"]))

    def next_pass(self, stage: str) -> int:
        """A number above that of every pass of the epoch, closed ones too: Delta skips a write whose number it saw."""
        return int(self._deferrals(stage).agg(F.max("pass")).collect()[0][0] or 0) + 1

    def defer(self, stage: str, waits: DataFrame, number: int) -> None:
        """Append (input_id, reason) for pass `number`; a null reason closes a deferral."""
        rows = waits.select(
            sql.row_id("deferrals", F.lit(stage), F.lit(self.epoch(stage)), "input_id", F.lit(number)).alias("id"),
            F.array("input_id").alias("parent_ids"),
            F.lit(None).cast("string").alias("reject_reason"),
            F.lit(stage).alias("stage"),
            F.lit(self.epoch(stage)).alias("epoch"),
            "input_id",
            "reason",
            F.lit(number).alias("pass"),
        )
        added = {"run_id": self._tables.run_id, "recipe": ""}
        self._tables.append(self._tables.conform(rows, "deferrals", added), "deferrals", {"stage": stage})

    def _deferrals(self, stage: str) -> DataFrame:
        return self._tables.read("deferrals").where((F.col("stage") == stage) & (F.col("epoch") == self.epoch(stage)))

    def _mark(self, names: Sequence[str], state: str, step: int) -> None:
        """A row that says where a name stands between two epochs, and nothing of its rows."""
        for name in names:
            self.record(Execution(name, self.epoch(name) + step, "", {}, {}, -1, state), StageTally(name))
            self._last.pop(name)
        self.flush()

    def _load(self) -> None:
        if not self._tables.exists("stage_runs"):
            return
        runs = self._tables.read("stage_runs")
        for row in _newest(runs).select("row.*", "ran").collect():
            self._epochs[row["stage"]] = row["epoch"]
            # `sequence` grows over all runs of a root
            self._order = max(self._order, row["sequence"])
            self._ran[row["stage"]] = row["ran"] or 0
            if row["state"] == "reset":
                self._to_empty.append(row["stage"])
            elif row["state"] != "emptied":
                self._last[row["stage"]] = Execution(
                    row["stage"],
                    row["epoch"],
                    row["recipe"],
                    json.loads(row["made_from"]),
                    row["inputs"],
                    row["output_version"],
                    row["state"],
                    json.loads(row["detail"]),
                )


def newest_deferrals(deferrals: DataFrame, *more: Column) -> DataFrame:
    """The newest word on each input, [stage, epoch, input_id, reason] and `more` aggregates of all that was said of it.

    A null reason is a deferral that was closed. What waited in an earlier epoch waits for nothing any more: it is the
    caller's to leave out, who knows the epochs.
    """
    return deferrals.groupBy("stage", "epoch", "input_id").agg(F.max_by("reason", "pass").alias("reason"), *more)


def _newest(runs: DataFrame) -> DataFrame:
    """Each stage's newest row, and the sequence of its newest execution: a row that took no time is a note."""
    ran = F.max(F.when(F.col("seconds") > 0, F.col("sequence")))
    return runs.groupBy("stage").agg(F.max_by(F.struct(*runs.columns), "sequence").alias("row"), ran.alias("ran"))


def _execution_id(run_id: str, stage: str, order: int) -> str:
    return hashlib.sha256(sql.SEPARATOR.join(("stage_runs", run_id, stage, str(order))).encode()).hexdigest()
