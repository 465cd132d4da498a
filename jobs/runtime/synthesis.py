"""The main job: one pass through all stages, or pass after pass with `--continuous`.

It orders things and turns what happens into an exit status; the work is the runner's and the rounds'.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial

from pyspark.sql import SparkSession

from jobs.runtime.endpoints import probed
from jobs.runtime.errors import AnswersWaiting, BatchesOutstanding, LongloomError, SettingsFault
from jobs.runtime.forgetting import finish as finish_forgetting
from jobs.runtime.history import ROUNDS, History
from jobs.runtime.json_modes import decided, left_open, strictest, with_json_modes
from jobs.runtime.layout import require_layout
from jobs.runtime.ledger import OPEN, Ledger, Serving
from jobs.runtime.lineage import Lineage, preload
from jobs.runtime.lock import RootLock
from jobs.runtime.opening import drop_scratch, require_root
from jobs.runtime.order import ahead
from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.plans import against_plan, comparison_lines
from jobs.runtime.progress import Progress, spark_tasks
from jobs.runtime.quotas import labels_wanted
from jobs.runtime.registering import register_classifier
from jobs.runtime.requirements import require_all, require_models, require_own_root, require_teacher, unknown_stages
from jobs.runtime.restart import none_to_retry, require_recipes, require_retriable, restart, retry_rejected
from jobs.runtime.root_status import what_next
from jobs.runtime.rounds import ROUND, run_rounds
from jobs.runtime.runner import Runner
from jobs.runtime.runs import MAIN_JOB, begin, end
from jobs.runtime.schedule import Step, run_steps
from jobs.runtime.scorers import compare_scorers
from jobs.runtime.session import warm_workers
from jobs.runtime.settings import Settings
from jobs.runtime.sources import Seen, are_given, find_inputs, inputs_of, register, skipped_lines
from jobs.runtime.stage import Stage
from jobs.runtime.stopping import Stop
from jobs.runtime.storage_faults import storage_fault
from jobs.runtime.summary import Summary
from jobs.runtime.tables import Tables
from jobs.runtime.tombstones import stale_tables
from udfs.readers import InputFile


@dataclass(frozen=True)
class Choices:
    """What to run, beyond the settings."""

    only: tuple[str, ...] = ()
    until: str | None = None
    recompute: tuple[str, ...] = ()
    refit: tuple[str, ...] = ()
    retry_rejected: str | None = None
    continuous: float | None = None  # seconds between passes
    dry_run: bool = False
    summary: str | None = None

    def stages(self) -> list[str]:
        """All stages that are named here."""
        named = [*self.only, self.until, *self.recompute, *self.refit, self.retry_rejected]
        return [name for name in named if name]


class Synthesis:
    """One invocation of the main job, or of another one (`job`) that runs its stages in the same way."""

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        stages: Sequence[Stage],
        choices: Choices,
        job: str = MAIN_JOB,
        serving: Serving = OPEN,
    ) -> None:
        self._job = job
        self._serving = serving
        self._spark = spark
        self._settings = settings
        self._stages = tuple(stages)
        self._rounds = ROUND if set(ROUND) <= {stage.name for stage in stages} else ()
        self._choices = choices
        self._listed: list[InputFile] | None = None  # for the next pass, if it was made already
        self._skipped: dict[str, list[str]] = {}  # by the last listing, of each kind of input

    def run(self) -> int:
        """Run to the end and return the exit status (design: 0, 2, 4, 5, 6; 1 is a bug)."""
        with Stop(self._spark.sparkContext) as stop:
            preload()
            tables = Tables(self._spark, self._settings.storage)
            require_all(
                self._require_names,
                lambda: require_root(self._spark, tables.state),
                lambda: require_own_root(self._settings, self._stages, tables),
                lambda: require_models(self._settings, self._chosen()),
                self._require_teacher,
                lambda: self._require_inputs(tables),
            )
            if not self._choices.dry_run:
                with warm_workers(self._spark):
                    return self._run(stop, tables)
            files = self._inputs(tables)
        for file in files:
            say(f"{file.kind:<14} {file.format:<24} {file.size:>12,} bytes  {file.path}")
        for sentence in skipped_lines(self._skipped):
            say(f"warning: {sentence}")
        return 0

    def _run(self, stop: Stop, tables: Tables) -> int:
        """The run itself, with the root in its hands."""
        started = time.monotonic()
        files = self._listed = self._inputs(tables)
        stop.check()
        suit_plans(self._spark, self._settings.storage, (file.size for file in files))
        summary = Summary()
        starts = (*self._choices.recompute, *self._choices.refit)
        with RootLock(tables.state, stop.request) as lock:
            tables.fence = lock.require
            require_layout(tables, migrate=True)
            history = History(tables)
            json_modes = self._settle_json_modes(history)
            require_recipes(self._stages, self._settings, tables, history, starts, self._chosen())
            require_retriable(self._stages, tables, self._choices.retry_rejected, starts)
            lineage = Lineage(self._settings, tables.state, self._settings.model_dump(mode="json"), self._job)
            tables.run_id = summary.run_id = lineage.run_id
            if lineage.warning:
                summary.warn(lineage.warning)
            progress = Progress(spark_tasks(self._spark.sparkContext), lambda stage: ledger.under_way(stage))
            ledger = Ledger(
                tables, self._settings.llm, self._settings.tokenizer, self._serving, progress.say, stop.wait
            )
            runner = Runner(self._spark, self._settings, tables, ledger, history, summary, progress.say)
            runner.running = progress.running
            runner.ahead = partial(ahead, self._stages)
            status = 1
            try:
                with stop.interruptible(), progress.told():
                    self._spark.sparkContext.setCheckpointDir(f"{tables.state}/_scratch")
                    ledger.fold()
                    told = self._settings.model_dump(mode="json")
                    begin(history, self._job, told, asdict(self._choices), json_modes)
                    finish_forgetting(runner, self._stages, files)  # first: what a restart empties shows calls in use
                    restart(runner, self._stages, starts, files)
                    if self._choices.retry_rejected:
                        retry_rejected(runner, self._choices.retry_rejected)
                    for sentence in stale_tables(tables, history):
                        summary.warn(sentence)
                    self._passes(runner, lineage, stop)
                status = 4 if summary.deferred else 0
                summary.status = "deferred" if status == 4 else "done"
            except Exception as error:
                known = error if isinstance(error, LongloomError) else storage_fault(error, tables.state)
                if known is None:
                    summary.status = f"stopped: {type(error).__name__}, which nobody foresaw; see the traceback"
                    raise
                status, summary.status = known.exit_status, f"stopped: {known}"
                print(f"longloom: {known}", file=sys.stderr)
            finally:
                ledger.close()
                summary.seconds = time.monotonic() - started
                summary.sort(self._names())
                if status in (0, 4):
                    self._close(runner, lineage, "FINISHED")
                else:
                    self._close_what_can_be(runner, lineage)
        for line in (*summary.lines(), *comparison_lines(summary.plan)):
            say(line)
        if status in (0, 4):
            say(what_next(summary.deferred, self._stages[-1].name, tables.version(self._stages[-1].name)))
        return status

    def _close(self, runner: Runner, lineage: Lineage, outcome: str) -> None:
        """Make the account of the run durable, and drop what only this run needed."""
        tables = runner.tables
        tables.fence()
        runner.summary.plan = against_plan(runner, runner.history)  # before the end is noted: it is part of it
        end(runner.history, runner.summary.status, runner.summary.paid())
        runner.history.flush()
        with ExitStack() as rest:  # from the last one on, each whatever becomes of the others
            rest.callback(self._write_summary, runner.summary)  # with what MLflow failed at
            rest.callback(lineage.close, runner.summary, runner.executed, self._locations(tables), outcome)
            rest.callback(drop_scratch, tables.state)
            rest.callback(self._write_summary, runner.summary)  # a client of MLflow may try for minutes

    def _write_summary(self, summary: Summary) -> None:
        """Where one is wanted."""
        if self._choices.summary:
            summary.write(self._choices.summary)

    def _locations(self, tables: Tables) -> dict[str, str]:
        return {name: tables.location(name) for name in (*self._names(), ROUNDS, "source_files")}

    def _close_what_can_be(self, runner: Runner, lineage: Lineage) -> None:
        """Close a run that stopped; what stopped it, a full disk or a lost root, may stand in the way of this too."""
        try:
            self._close(runner, lineage, "FAILED")
        except Exception as error:
            if isinstance(error, LongloomError):
                print(f"longloom: {error}", file=sys.stderr)
            elif storage_fault(error, runner.tables.state) is None:
                raise

    # -- passes -----------------------------------------------------------------------------------------

    def _passes(self, runner: Runner, lineage: Lineage, stop: Stop) -> None:
        """One pass, or passes until the run is told to stop."""
        while True:
            try:
                self._pass(runner, lineage, stop)
            except (AnswersWaiting, BatchesOutstanding) as waits:
                if self._choices.continuous is None:
                    raise
                say(f"{waits} (the next pass does)")
            if self._choices.continuous is None:
                return
            runner.history.flush()
            # Now: a run that goes on for weeks could not do it while it is told to stop.
            lineage.log_stages(runner.summary, runner.executed, self._locations(runner.tables))
            runner.executed.clear()
            stop.wait(self._choices.continuous)

    def _pass(self, runner: Runner, lineage: Lineage, stop: Stop) -> None:
        files = self._inputs(runner.tables)
        suit_plans(self._spark, self._settings.storage, (file.size for file in files))
        register(runner.tables, files, runner.summary, self._skipped)
        run_steps(list(self._steps(runner, lineage)), stop.check)

    def _inputs(self, tables: Tables) -> list[InputFile]:
        """The inputs of a pass: those of the first one as they were listed before the run. Raises SettingsFault."""
        files, self._listed = self._listed, None
        if files is None:
            files = find_inputs(inputs_of(self._settings, tables.state), Seen(tables), self._skipped)
        return files

    def _steps(self, runner: Runner, lineage: Lineage) -> Iterator[Step]:
        """The chosen stages; those of a round are one step, whichever of them was chosen."""
        by_name = {stage.name: stage for stage in self._stages}
        chosen = self._chosen()
        for stage in chosen:
            if stage.name not in self._rounds:
                run = partial(self._run_stage, runner, lineage, stage)
                yield Step(frozenset(stage.tables), frozenset((stage.name, *stage.also)), run)
            elif stage is next(one for one in chosen if one.name in self._rounds):
                reads = {table for name in ROUND for table in by_name[name].tables} - set(ROUND)
                yield Step(frozenset(reads), frozenset(ROUND), partial(run_rounds, runner, by_name))

    def _run_stage(self, runner: Runner, lineage: Lineage, stage: Stage) -> None:
        if stage.name == "document_labels":
            self._label(runner, stage)
            return
        state = runner.run(stage).state
        if stage.name == "classifier" and state in ("done", "frozen"):
            register_classifier(runner, lineage)
        if stage.name == "training_set" and state == "done" and self._settings.selection.by == "influence":
            compare_scorers(runner)

    def _label(self, runner: Runner, stage: Stage) -> None:
        """Ask for labels only while there is a classifier to train."""
        trained = runner.tables.exists("classifier") and runner.tables.read("classifier").limit(1).count()
        asked, kept = runner.tables.read(stage.name).count(), runner.tables.kept(stage.name).count()
        wanted = 0 if trained else labels_wanted(self._settings.classifier.labels, asked, kept)
        if wanted <= 0:
            runner.history.let_go(stage.name)
            runner.skip(stage, "unchanged")
        else:  # though nothing else changed: their number is no part of the recipe, and was raised, or one was not had
            runner.run(stage, self._spark.createDataFrame([(wanted,)], "count bigint"))

    # -- before the first stage -------------------------------------------------------------------------

    def _require_names(self) -> None:
        """Every stage named on the command line must exist. Raises SettingsFault."""
        unknown = unknown_stages([*self._choices.stages(), *self._settings.llm.stages], self._names())
        unknown += none_to_retry(self._choices.retry_rejected) if not unknown else []
        if unknown:
            raise SettingsFault(unknown)
        if not self._chosen():
            raise SettingsFault(["--only influence: nothing is measured with selection.by: order; set it to influence"])

    def _require_inputs(self, tables: Tables) -> None:
        """All inputs are there and can be read. Raises SettingsFault."""
        files = find_inputs(self._settings.inputs, Seen(tables), self._skipped)
        self._listed = files if are_given(self._settings.inputs) else None

    def _require_teacher(self) -> None:
        """Where a call may be made, the teacher is there. Raises SettingsFault or ServiceRefused."""
        if not self._serving.sealed and any(stage.asks for stage in self._chosen()):
            require_teacher(self._settings.llm)

    def _settle_json_modes(self, history: History) -> dict[str, dict[str, str]]:
        """Decide what the settings leave open about the form of replies, and tell it by stage.

        Raises ServiceRefused.
        """
        told, otherwise = self._settings.llm, probed
        if self._serving.sealed:
            otherwise = strictest
        elif not any(stage.asks or stage.name in self._rounds for stage in self._chosen()):
            otherwise = left_open
        calls = self._serving.tables or history.tables
        self._settings = with_json_modes(self._settings, self._stages, history, calls, otherwise)
        return decided(told, self._settings.llm, self._stages)

    def _chosen(self) -> list[Stage]:
        """The stages of this run, in order; nothing is measured where nothing is selected by it."""
        names = self._names()
        if self._choices.only:
            names = [name for name in names if name in self._choices.only]
        elif self._choices.until in names:
            names = names[: names.index(self._choices.until) + 1]
        if self._settings.selection.by == "order":
            names = [name for name in names if name != "influence"]
        return [stage for stage in self._stages if stage.name in names]

    def _names(self) -> list[str]:
        return [stage.name for stage in self._stages]


def say(line: str) -> None:
    """A plain line of progress."""
    print(line, flush=True)
