"""Forgets files, records and walks: takes their counts off the graph, removes what was made from them, purges texts.

A forgetting is decided by its tombstones, one commit, and carried out after that. Rows go before what they were
made from and every step looks at what is left, so that one that was cut short is ended by the next run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphs.checkpoints import checkpointed
from jobs.runtime import dependents, tombstones
from jobs.runtime.errors import SettingsFault
from jobs.runtime.history import ROUNDS, Execution, History
from jobs.runtime.opening import PREVIEW, drop_folder
from jobs.runtime.recipes import identity
from jobs.runtime.report.page import drop_reports
from jobs.runtime.restart import restart
from jobs.runtime.resuming import is_behind
from jobs.runtime.runner import Runner
from jobs.runtime.stage import Stage
from jobs.runtime.subjects import expand, resolve
from jobs.runtime.summary import StageTally
from jobs.runtime.tables import Once, Tables
from udfs.readers import InputFile

GRAPH = ("nodes", "edges")
JUDGED_AGAIN = "duplicate_of_forgotten"
NOTE = {"stage": tombstones.EXECUTION}
# Whose calls may have been made from a record or a walk.
CALLS = {
    "conversations": ("meta_records", "task_rewrites", "instructions", "samples"),
    "documents": ("document_labels", "samples"),
    "walks": ("instructions", "samples"),
}


@dataclass
class Outcome:
    """What a forgetting did: rows removed per table, and rejected rows that the next run judges again."""

    removed: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)


def forget(
    runner: Runner, stages: Sequence[Stage], sources: Sequence[str], ids: Sequence[str], now: bool = False
) -> Outcome:
    """Forget files by path and rows by id; what was forgotten before is said and left alone.

    Raises SettingsFault with all unknown files and ids at once, before anything is written, while batches are
    outstanding, and, unless it must be `now`, while there are answers whose rows were not made yet.
    """
    _require_no_batches(runner)
    if not now:
        _require_rows_of_answers(runner, stages)
    outcome = finish(runner, stages)
    subjects, told = resolve(runner.tables, sources, ids)
    for sentence in told:
        runner.say(sentence)
    if not subjects:
        return outcome
    rows = checkpointed(expand(runner.tables, subjects))
    tables = tombstones.RECORDS
    records = rows.where(F.col("table").isin(*tables)).select(F.col("id").alias("record"))
    saw = dependents.fits_that_saw(runner.tables, dependents.of_records(runner.tables, records))
    tombstones.bury(runner.tables, rows, {name: runner.history.epoch(name) for name in saw})
    done = finish(runner, stages)
    return Outcome(outcome.removed + done.removed, outcome.again + done.again)


def _require_no_batches(runner: Runner) -> None:
    """A result that comes later would bring back what was forgotten. Raises SettingsFault."""
    outstanding = runner.ledger.batches.outstanding()
    if outstanding:
        raise SettingsFault(
            [
                f"{len(outstanding)} batches are outstanding, and what they bring could rest on what is to be "
                "forgotten; run the main job until they are collected, or end them with `jobs/ledger.py batches "
                "--cancel` and run it once"
            ]
        )


def _require_rows_of_answers(runner: Runner, stages: Sequence[Stage]) -> None:
    """What no row rests on may be made from anything and goes: so would what was paid for and is still to be read.

    A run that started stages again and was cut off leaves all their answers so. Raises SettingsFault.
    """
    tables, history = runner.tables, runner.history
    behind = [
        stage.name for stage in stages if stage.name in dependents.CALLING and _may_owe_rows(tables, history, stage)
    ]
    if not behind:
        return
    runner.ledger.fold()  # what a killed run left in the spool was paid for, too
    answered = tables.read("llm_calls").where("status = 'ok'")
    if not answered.join(dependents.unused_calls(tables, frozenset(behind)), "id", "left_semi").isEmpty():
        raise SettingsFault(
            [
                f"rows of answers that were paid for are still to be made ({', '.join(behind)}), and a forgetting "
                "takes every call that no row rests on; run the main job to its end first, or give --now and pay for "
                "them again"
            ]
        )


def _may_owe_rows(tables: Tables, history: History, stage: Stage) -> bool:
    """Whether a stage has rows to read, did not come to an end in its epoch, or left rows waiting."""
    last = history.last(stage.name)
    if is_behind(tables, history, stage):
        return True
    # A stream that never began is told by its checkpoint; one that was started again has none yet.
    return last.state == "deferred" if last else stage.mode != "streams" or history.epoch(stage.name) > 0


def finish(runner: Runner, stages: Sequence[Stage], files: Sequence[InputFile] = ()) -> Outcome:
    """Carry out the newest forgetting unless it came to its end; nothing is written then.

    A restart that died comes to its end first, with the inputs as they are now: until then rows of two epochs may
    stand together. One that is asked for comes after: what it empties is what shows which calls are in use.
    """
    outcome = Outcome()
    restart(runner, tuple(stages), (), list(files))
    if tombstones.is_open(runner.tables, runner.history):
        _Burial(runner, {stage.name: stage for stage in stages}, outcome).carry_out()
    return outcome


class _Burial:
    """One forgetting being carried out."""

    def __init__(self, runner: Runner, stages: Mapping[str, Stage], outcome: Outcome) -> None:
        self._runner, self._tables, self._stages, self._outcome = runner, runner.tables, stages, outcome
        self._began = time.monotonic()
        self._run, self._stones = tombstones.newest(self._tables)
        self._kinds = {row[0] for row in self._stones.select("subject_table").distinct().collect()}
        self._files = self._subjects(tombstones.FILES).select(F.col("subject").alias("file"))
        self._records = checkpointed(self._subjects(*tombstones.RECORDS).select(F.col("subject").alias("record")))
        self._walks = self._subjects(tombstones.WALKS).select(F.col("subject").alias("id"))

    def carry_out(self) -> None:
        self._runner.ledger.fold()  # what a killed run left in the spool is in the ledger from here on
        self._take_counts_off()
        before = {name: self._tables.version(name) for name in (*self._stages, tombstones.FILES)}
        gone = checkpointed(_tabled(self._rows_that_go()))
        gone = checkpointed(gone.unionByName(self._judge_duplicates_again(gone)))
        self._move_records()
        self._remove(gone)
        self._purge_texts()
        self._end(before)

    # -- the graph --------------------------------------------------------------------------------------

    def _take_counts_off(self) -> None:
        """Append the counts of the seed paths that go, negative; a repetition writes nothing.

        What a killed run did not count yet is counted first: a count cannot be taken off twice or too early.
        """
        paths = self._of("seed_paths", "conversation")
        if paths.isEmpty():
            return
        for name in GRAPH:
            stage = self._stages[name]
            self._runner.run(stage)
            counts = stage.function(paths.where(F.col("reject_reason").isNull()))
            last = self._runner.history.last(name)
            added = {
                "run_id": self._tables.run_id,
                "recipe": last.recipe if last else identity(self._runner.recipe(stage)),
                "batch": f"forget-{self._run}",
            }
            negative = self._tables.conform(counts.withColumn("count", -F.col("count")), name, added)
            self._tables.append(negative, name, NOTE, self._once(name))

    def _once(self, name: str) -> Once:
        """A table that was emptied to be counted anew has a new epoch, in which the counts are to be taken off too."""
        return Once(f"longloom/forget/{self._run}/{name}/{self._runner.history.epoch(name)}", 0)

    # -- rows -------------------------------------------------------------------------------------------

    def _rows_that_go(self) -> dict[str, DataFrame]:
        """[id] per table."""
        gone = dependents.of_records(self._tables, self._records)
        walks = self._walks
        if "conversations" in self._kinds:
            gone |= {name: dependents.counted_nothing(self._tables, name) for name in GRAPH}
            gone |= self._values_that_go()
            walks = checkpointed(
                walks.unionByName(dependents.walks_left_without_graph(self._tables, self._records)).distinct()
            )
        gone |= dependents.made_from_walks(self._tables, walks, self._records)
        gone["sources"] = gone["sources"].unionByName(dependents.sightings_in(self._tables, self._files))
        return gone

    def _values_that_go(self) -> dict[str, DataFrame]:
        """Canonical values go with their last holder; those still needed stand on another one from here on."""
        values = checkpointed(dependents.values_left(self._tables, self._records))
        self._amend(
            "canonical_values",
            values.where(F.col("holder").isNotNull()).select("id", F.array("holder").alias("parent_ids")),
        )
        gone = values.where(F.col("holder").isNull()).select("id")
        return {"canonical_values": gone, "task_rewrites": dependents.rewrites_of(self._tables, gone)}

    def _judge_duplicates_again(self, gone: DataFrame) -> DataFrame:
        """[id, table]: rows rejected as duplicates of what goes; they go, and their inputs wait for the next run."""
        rows = checkpointed(dependents.duplicates(self._tables, gone))
        self._outcome.again.update({row["table"]: row["count"] for row in rows.groupBy("table").count().collect()})
        for name in self._outcome.again:
            mine = rows.where(F.col("table") == name)
            waits = mine.select("input_id", F.lit(JUDGED_AGAIN).alias("reason")).distinct()
            self._runner.history.reopen(name)
            self._runner.history.defer(name, waits, self._runner.history.next_pass(name))
        return rows.select("id", "table")

    def _move_records(self) -> None:
        """Records that another file holds too stand in that one from here on."""
        for name in tombstones.RECORDS:
            if tombstones.FILES in self._kinds and self._tables.exists(name):
                self._amend(name, dependents.moved(self._tables, name, self._files, self._records))

    def _remove(self, gone: DataFrame) -> None:
        """Rows go before what they were made from."""
        counts = {row["table"]: row["count"] for row in gone.groupBy("table").count().collect()}
        for name in [*reversed(list(self._stages)), "sources"]:
            if name in counts:
                self._tables.remove(name, gone.where(F.col("table") == name), NOTE)
                self._outcome.removed[name] += counts[name]
        known = self._tables.kept(tombstones.FILES).select(F.col("id").alias("file"))
        forgotten = self._files.join(known, "file", "left_semi").select(
            F.col("file").alias("id"), F.lit(tombstones.REASON).alias("reject_reason")
        )
        self._outcome.removed[tombstones.FILES] += self._amend(tombstones.FILES, forgotten)
        self._end_waits()

    def _end_waits(self) -> None:
        """A file that could not be read waits no longer."""
        if not self._tables.exists("deferrals"):
            return
        history, files = self._runner.history, self._files.select(F.col("file").alias("input_id"))
        for name in (name for name, stage in self._stages.items() if stage.driving == tombstones.FILES):
            waits = checkpointed(history.open_deferrals(name).join(files, "input_id", "left_semi").select("input_id"))
            if not waits.isEmpty():
                history.defer(name, waits.withColumn("reason", F.lit(None).cast("string")), history.next_pass(name))

    # -- texts elsewhere --------------------------------------------------------------------------------

    def _purge_texts(self) -> None:
        """The ledger, the examples of types, figures that name values, and what shows rows: preview and reports."""
        asking = {stage for kind in self._kinds for stage in CALLS.get(kind, ())}
        if "conversations" in self._kinds and self._tables.exists("document_types"):
            left = dependents.examples_left(self._tables, self._records)
            if left:
                frame = self._tables.spark.createDataFrame(left, "id string, examples array<string>")
                self._amend("document_types", frame)
                asking.add("document_types")
        drop_folder(self._tables.state, PREVIEW)  # it holds records, and is made anew with a word
        drop_reports(self._tables.state)
        if asking and self._tables.exists("llm_calls"):
            unused = checkpointed(dependents.unused_calls(self._tables, frozenset(asking)))
            count = unused.count()
            if count:
                keys = self._tables.read("llm_calls").join(unused, "id", "left_semi")
                root = F.coalesce("parent_key", "key").alias("key")
                tombstones.bury_calls(self._tables, self._run, checkpointed(keys.select(root).distinct()))
                self._tables.remove("llm_calls", unused, NOTE)
                self._outcome.removed["llm_calls"] += count
        if "conversations" in self._kinds and self._tables.exists("graph_stats"):
            self._runner.run(self._stages["graph_stats"])

    def _end(self, before: Mapping[str, int]) -> None:
        """Streams lost rows and got none, so they stay up to date; then the mark that all was carried out."""
        after = {name: self._tables.version(name) for name in before}
        losing = [name for name, stage in self._stages.items() if stage.mode == "streams"]
        self._runner.history.carry(losing, before, after)
        self._wake_rounds()
        version = {tombstones.TABLE: self._tables.version(tombstones.TABLE)}
        done = Execution(tombstones.EXECUTION, 0, "", {}, version, -1, "done", {"removed": dict(self._outcome.removed)})
        tally = StageTally(tombstones.EXECUTION, seconds=time.monotonic() - self._began)
        self._runner.history.record(done, tally)
        self._runner.history.flush()

    def _wake_rounds(self) -> None:
        """Rounds that came to their end start again: samples may be missing though nothing that they read has changed.

        A forgotten walk takes its samples with it and leaves graph and documents as they are.
        """
        last = self._runner.history.last(ROUNDS)
        if last is not None:
            self._runner.history.record(replace(last, inputs={}), StageTally(ROUNDS))

    # -- small parts ------------------------------------------------------------------------------------

    def _subjects(self, *names: str) -> DataFrame:
        return self._stones.where(F.col("subject_table").isin(*names)).select("subject")

    def _of(self, name: str, column: str) -> DataFrame:
        mine = self._records.withColumnRenamed("record", column)
        return self._tables.read(name).join(mine, column, "left_semi")

    def _amend(self, name: str, rows: DataFrame) -> int:
        """Set columns of rows, in no commit where there are none; how many there were."""
        rows = checkpointed(rows)
        count = rows.count()
        if count:
            self._tables.amend(name, rows, NOTE)
        return count


def _tabled(frames: Mapping[str, DataFrame]) -> DataFrame:
    """[id, table] of frames of ids, each once."""
    named = [rows.select("id").distinct().withColumn("table", F.lit(name)) for name, rows in frames.items()]
    return reduce(DataFrame.unionByName, named)
