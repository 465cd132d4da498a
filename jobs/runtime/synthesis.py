"""The main job: one pass through all stages, or pass after pass with `--continuous`.

It orders things and turns what happens into an exit status; the work is the runner's and the rounds'.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

import fsspec
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.runtime.errors import LongloomError, SettingsFault
from jobs.runtime.history import History
from jobs.runtime.ledger import Ledger
from jobs.runtime.lineage import Lineage, preload
from jobs.runtime.lock import RootLock
from jobs.runtime.restart import require_recipes, restart, retry_rejected
from jobs.runtime.rounds import ROUND, run_rounds
from jobs.runtime.runner import Runner
from jobs.runtime.settings import InputSettings, Settings
from jobs.runtime.sources import find_inputs, register
from jobs.runtime.stage import Stage
from jobs.runtime.summary import Summary
from jobs.runtime.tables import Tables
from udfs.models.errors import ModelUnavailable
from udfs.models.files import embedder_identity
from udfs.tokens import TokenizerUnavailable, tokenizer_identity


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


class Synthesis:
    """One invocation of the main job."""

    def __init__(self, spark: SparkSession, settings: Settings, stages: Sequence[Stage], choices: Choices) -> None:
        self._spark = spark
        self._settings = settings
        self._stages = tuple(stages)
        self._choices = choices
        self._stop = threading.Event()

    def run(self) -> int:
        """Run to the end and return the exit status (design: 0, 2, 4, 5, 6; 1 is a bug)."""
        self._require_names()
        preload()
        started = time.monotonic()
        tables = Tables(self._spark, self._settings.storage)
        self._require_models()
        files = find_inputs(self._inputs(tables.state))
        if self._choices.dry_run:
            for file in files:
                say(f"{file.kind:<14} {file.format:<24} {file.size:>12,} bytes  {file.path}")
            return 0
        summary = Summary()
        starts = (*self._choices.recompute, *self._choices.refit)
        with RootLock(tables.state):
            history = History(tables)
            require_recipes(self._stages, self._settings, tables, history, starts)
            lineage = Lineage(self._settings, tables.state, self._settings.model_dump(mode="json"))
            tables.run_id = summary.run_id = lineage.run_id
            runner = Runner(
                self._spark,
                self._settings,
                tables,
                Ledger(tables, self._settings.llm, self._settings.tokenizer),
                history,
                summary,
                say,
            )
            status = 1
            try:
                self._spark.sparkContext.setCheckpointDir(f"{tables.state}/_scratch")
                runner.ledger.fold()
                restart(runner, self._stages, starts, files)
                if self._choices.retry_rejected:
                    retry_rejected(runner, self._choices.retry_rejected)
                self._passes(runner, lineage)
                status = 4 if summary.deferred else 0
                summary.status = "deferred" if status == 4 else "done"
            except LongloomError as error:
                status, summary.status = error.exit_status, f"stopped: {error}"
                print(f"longloom: {error}", file=sys.stderr)
            except KeyboardInterrupt:
                status, summary.status = 143, "interrupted; the next run continues"
            finally:
                summary.seconds = time.monotonic() - started
                summary.sort(self._names())
                history.flush()
                locations = {name: tables.location(name) for name in (*self._names(), "rounds", "source_files")}
                lineage.close(summary, runner.executed, locations, "FINISHED" if status in (0, 4) else "FAILED")
                if self._choices.summary:
                    summary.write(self._choices.summary)
                self._drop_scratch(tables.state)
        for line in summary.lines():
            say(line)
        return status

    # -- passes -----------------------------------------------------------------------------------------

    def _passes(self, runner: Runner, lineage: Lineage) -> None:
        """One pass, or passes until SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_signal)
        while True:
            self._pass(runner, lineage)
            runner.history.flush()
            if self._choices.continuous is None or self._stop.wait(self._choices.continuous):
                return

    def _pass(self, runner: Runner, lineage: Lineage) -> None:
        register(runner.tables, find_inputs(self._inputs(runner.tables.state)), runner.summary)
        by_name = {stage.name: stage for stage in self._stages}
        rounds_done = False
        for stage in self._chosen():
            if stage.name in ROUND:
                if not rounds_done:  # whichever of the four was asked for, they only run together
                    run_rounds(runner, by_name)
                rounds_done = True
            elif stage.name == "document_labels":
                self._label(runner, stage)
            elif runner.run(stage).state == "done" and stage.name == "classifier":
                self._register(runner, lineage)

    def _label(self, runner: Runner, stage: Stage) -> None:
        """Ask for labels only while there is a classifier to train."""
        trained = runner.tables.exists("classifier") and runner.tables.read("classifier").limit(1).count()
        if trained or runner.unchanged(stage):
            runner.skip(stage, "unchanged")
            return
        have = runner.tables.read("document_labels").count()
        wanted = self._settings.classifier.labels - have
        if wanted > 0:
            runner.run(stage, self._spark.createDataFrame([(wanted,)], "count bigint"))

    def _register(self, runner: Runner, lineage: Lineage) -> None:
        """Register a classifier fitted in this run, and say how good it is."""
        mine = runner.tables.read("classifier").where(F.col("run_id") == runner.tables.run_id).collect()
        for row in mine:
            figures = {key: row[key] for key in ("version", "accuracy", "interval_low", "interval_high", "n_held_out")}
            registered = lineage.register_classifier(bytes(row["model"]), figures, "longloom-document-types")
            say(
                f"classifier: held-out accuracy {row['accuracy']:.3f} (n = {row['n_held_out']}, 95 % interval "
                f"{row['interval_low']:.3f}–{row['interval_high']:.3f}), model version {registered}"
            )
            if self._settings.llm.teacher == "offline":
                say(
                    "  note: the offline teacher's labels and the features both come from surface text, so this "
                    "accuracy is not evidence of quality"
                )

    # -- before the first stage -------------------------------------------------------------------------

    def _inputs(self, state: str) -> InputSettings:
        """The configured inputs, or the demonstration corpus where none are given."""
        if self._settings.inputs.conversations:
            return self._settings.inputs
        from jobs.runtime.demo_corpus import build_demo_corpus

        corpus = build_demo_corpus(f"{state}/_demo_corpus", self._settings.seed)
        return InputSettings(conversations=(str(corpus.conversations),), documents=(str(corpus.documents),))

    def _require_names(self) -> None:
        """Every stage named on the command line must exist. Raises SettingsFault."""
        chosen = self._choices
        given = [*chosen.only, chosen.until, *chosen.recompute, *chosen.refit, chosen.retry_rejected]
        unknown = [name for name in given if name and name not in self._names()]
        if unknown:
            raise SettingsFault([f"no stage is named {n!r}; stages: {', '.join(self._names())}" for n in unknown])

    def _require_models(self) -> None:
        """Encoder and tokenizer must be there before anything is written. Raises SettingsFault."""
        faults = []
        for name, look in (("embedder", embedder_identity), ("tokenizer", tokenizer_identity)):
            try:
                look(getattr(self._settings, name))
            except (ModelUnavailable, TokenizerUnavailable) as error:
                faults.append(f"{name}: {error}")
        if faults:
            raise SettingsFault(faults)

    def _chosen(self) -> list[Stage]:
        if self._choices.only:
            return [stage for stage in self._stages if stage.name in self._choices.only]
        names = self._names()
        if self._choices.until:
            return list(self._stages[: names.index(self._choices.until) + 1])
        return list(self._stages)

    def _names(self) -> list[str]:
        return [stage.name for stage in self._stages]

    def _drop_scratch(self, state: str) -> None:
        """Checkpointed frames of this run are of no use to the next one."""
        files, folder = fsspec.core.url_to_fs(f"{state}/_scratch")
        if files.exists(folder):
            files.rm(folder, recursive=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()
        if self._choices.continuous is None:
            raise KeyboardInterrupt


def say(line: str) -> None:
    """A plain line of progress."""
    print(line, flush=True)
