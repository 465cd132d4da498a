"""Replays runs of a root into a new one, from its registered files and its ledger, without a call, and proves that
the same came out.

It refuses by name what cannot be replayed: input that changed, is missing or was forgotten, a program or a history
that is another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import fsspec
from pydantic import ValidationError
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.comparing import Comparison, compare, result_tables
from jobs.runtime.errors import GateStop, SettingsFault
from jobs.runtime.history import History
from jobs.runtime.layout import require_layout
from jobs.runtime.ledger import Serving
from jobs.runtime.ledger_files import import_calls
from jobs.runtime.opening import opened
from jobs.runtime.recipes import differences, identity, recipe
from jobs.runtime.runs import MAIN_JOB, Run, runs
from jobs.runtime.settings import InputSettings, LineageSettings, Settings, StorageSettings
from jobs.runtime.sources import KINDS
from jobs.runtime.stage import Stage
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.runtime.tables import MISSING, Tables, is_readable
from jobs.runtime.tombstones import FILES
from jobs.runtime.tombstones import TABLE as TOMBSTONES
from udfs.readers.hashing import hash_files


@dataclass
class Replay:
    """The runs of `old` up to one of them, to be made again in a new root."""

    spark: SparkSession
    stages: tuple[Stage, ...]
    old: Tables
    root: str
    say: Callable[[str], None]
    _known: list[Run] = field(default_factory=list)

    def run(self, wanted: str) -> list[Comparison]:
        """Replay up to the run `wanted` (or the one beginning so) and compare every table.

        Raises SettingsFault where it cannot be replayed, before anything is written, and GateStop when the replay
        needed a call or came to its end otherwise than the run did.
        """
        require_layout(self.old)
        made, later = self._parted(wanted)
        files = self._files(made)
        settings = [self._settings(run, files) for run in made]
        faults = [*self._input_faults(files), *self._forgotten(made), *self._history_faults(later)]
        faults += self._program_faults(made, settings)
        faults += self._vacuumed(made[-1], later)
        if Tables(self.spark, StorageSettings(root=self.root)).exists("stage_runs"):
            faults.append(f"--root {self.root}: holds a root already; name a new folder")
        if faults:
            raise SettingsFault(faults)
        self._bring_answers(settings[-1], later)
        self._require_end(made[-1], self._made_again(made, settings))
        return [self._compared(name, made[-1], later) for name in result_tables(self.stages)]

    # -- what is to be replayed -------------------------------------------------------------------------

    def _parted(self, wanted: str) -> tuple[list[Run], list[Run]]:
        """(the runs up to the wanted one, those after it)."""
        known = self._known = runs(self.old)
        places = [place for place, run in enumerate(known) if run.run_id.startswith(wanted)] if wanted else []
        if len(places) != 1:
            there = ", ".join(run.run_id for run in known[-5:]) or "none that notes what it was told"
            raise SettingsFault(
                [f"--run {wanted}: {len(places)} runs of {self.old.state} are called so; newest: {there}"]
            )
        last = known[places[0]]
        if last.job != MAIN_JOB:
            raise SettingsFault([f"--run {last.run_id}: is a run of jobs/{last.job}.py, which cannot be replayed"])
        if last.status not in ("done", "deferred"):
            raise SettingsFault(
                [f"--run {last.run_id}: did not come to its end ({last.status}); name the run that went on after it"]
            )
        return known[: places[0] + 1], known[places[0] + 1 :]

    def _files(self, made: Sequence[Run]) -> list[Row]:
        """Registered files of these runs."""
        mine = F.col("run_id").isin([run.run_id for run in made])
        return self.old.read(FILES).where(mine).orderBy("kind", "path", "mtime_ns").collect()

    def _settings(self, run: Run, files: Sequence[Row]) -> Settings:
        """What the run was told, over the files that were registered by then, in the new root."""
        try:
            settings = Settings.model_validate(dict(run.settings))
        except ValidationError as error:
            keys = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
            raise SettingsFault(
                [f"run {run.run_id}: this program does not know its settings any more: {keys}"]
            ) from error
        here = {kind: tuple(dict.fromkeys(self._paths(kind, run, files))) for kind in KINDS}
        return settings.model_copy(
            update={
                "inputs": InputSettings(**here),
                "storage": StorageSettings(root=self.root),
                "lineage": LineageSettings(),
            }
        )

    def _paths(self, kind: str, run: Run, files: Sequence[Row]) -> Iterator[str]:
        order = {one.run_id: one.sequence for one in self._known}
        for file in files:
            if file["kind"] == kind and order[file["run_id"]] <= run.sequence:
                yield file["path"]

    # -- what stands in its way -------------------------------------------------------------------------

    def _input_faults(self, files: Sequence[Row]) -> Iterator[str]:
        """Files that are gone, or hold something else."""
        newest = {(file["kind"], file["path"]): file for file in files}
        replaced = [file for file in files if newest[file["kind"], file["path"]] is not file]
        for file in replaced:
            yield f"{file['path']}: its content changed between two of the runs, and the earlier content is gone"
        columns = "path string, content_hash string"
        given = self.spark.createDataFrame([(file["path"],) for file in files], "path string")
        hashing: Any = hash_files
        hashes = {row["path"]: row["content_hash"] for row in given.mapInPandas(hashing, columns).collect()}
        for (_, path), file in newest.items():
            if file["reject_reason"] is not None or hashes[path] == file["content_hash"]:
                continue  # forgotten files are named as such
            store, place = fsspec.core.url_to_fs(path)
            yield f"{path}: " + ("its content has changed since" if store.exists(place) else "is missing")

    def _forgotten(self, made: Sequence[Run]) -> Iterator[str]:
        """What these runs took in and was forgotten since: nothing brings it back."""
        stones = self.old.read(TOMBSTONES).where(F.col("subject_table") != "llm_calls").collect()
        registered = {row["id"]: row for row in self.old.read(FILES).select("id", "path", "run_id").collect()}
        mine = {run.run_id for run in made}
        for stone in sorted(stones, key=lambda stone: (stone["subject_table"] != FILES, stone["subject"])):
            file = registered.get(stone["subject"]) or registered.get(stone["asked"])
            if file is not None and file["run_id"] not in mine:
                continue  # it came later
            if stone["subject_table"] == FILES:
                yield f"{file['path'] if file else stone['subject']}: was forgotten on {stone['forgotten_at']:%Y-%m-%d}"
            elif file is None:
                what = f"{stone['subject'][:16]} of {stone['subject_table']}"
                yield f"{what}: was forgotten on {stone['forgotten_at']:%Y-%m-%d}"

    def _history_faults(self, later: Sequence[Run]) -> Iterator[str]:
        """Rows of the run that the root has let go since."""
        if not later:
            return
        after = F.col("sequence") >= later[0].sequence
        restarted = self.old.read("stage_runs").where(after & (F.col("state") == "reset")).select("stage").distinct()
        for row in restarted.where(F.col("stage").isin(*KINDS)).orderBy("stage").collect():
            yield (
                f"{row['stage']}: a later run started it again and registered its files anew; only that run and those "
                "after it can be replayed"
            )

    def _program_faults(self, made: Sequence[Run], settings: Sequence[Settings]) -> Iterator[str]:
        """Stages that would make other rows from the same settings: their code or prompt has changed."""
        told = {run.run_id: given for run, given in zip(made, settings, strict=True)}
        mine = F.col("run_id").isin(list(told))  # other jobs carry executions over, under names of their own
        for name, row in self._executed(made[-1], None, mine).items():
            stage = next((one for one in self.stages if one.name == name), None)
            if stage is None:
                continue
            now = recipe(stage, told[row["run_id"]])
            if identity(now) != row["recipe"]:
                changes = "; ".join(differences(json.loads(row["made_from"]), now)) or "the recipe's layout changed"
                yield f"{name}: this program makes it otherwise than run {row['run_id']} did ({changes})"

    def _vacuumed(self, last: Run, later: Sequence[Run]) -> Iterator[str]:
        """Tables as the run left them that nothing can be compared with any more."""
        for name in result_tables(self.stages) if later else ():
            if not is_readable(self.spark, partial(self._as_of, name, last, later)):
                yield (
                    f"{name}: files of the version that run {last.run_id} left are gone. Only runs within the "
                    "retention of jobs/maintain.py, and those that it was told to --keep, can be replayed"
                )

    # -- the replay -------------------------------------------------------------------------------------

    def _bring_answers(self, settings: Settings, later: Sequence[Run]) -> None:
        """The ledger, less what later runs added to it."""
        calls = self.old.read("llm_calls")
        known = calls.where(~F.col("run_id").isin([run.run_id for run in later])) if later else calls
        with opened(self.spark, settings, self.say, may_be_new=True) as runner:
            self.say(f"{import_calls(runner, known):,} calls taken from {self.old.state}")

    def _made_again(self, made: Sequence[Run], settings: Sequence[Settings]) -> int:
        """All runs that the old root needed, one after the other; the exit status of the last."""
        status, before, told = 0, None, None
        wrote = self._wrote()
        for run, given in zip(made, settings, strict=True):
            if not given.inputs.conversations:
                continue  # it died before it had read anything
            now = (given, {key: run.choices.get(key) for key in ("only", "until")})
            starts = any(run.choices.get(key) for key in ("recompute", "refit"))
            # Told the same again, a run went on where one had ended, and so it does here. It has nothing to do where
            # it wrote nothing, or where the one before it was cut short, for that one comes to its end here.
            ended = before is not None and (before.status in ("done", "deferred") or status != 0)
            if starts or now != told or (ended and run.run_id in wrote):
                self.say(f"replaying run {run.run_id}")
                status = self._again(run, given)
            before, told = run, now
        return status

    def _wrote(self) -> set[str]:
        """The runs in which a stage wrote rows."""
        rows = self.old.read("stage_runs").where("rows_out > 0").select("run_id").distinct().collect()
        return {row["run_id"] for row in rows}

    def _again(self, run: Run, settings: Settings) -> int:
        """One run, sealed: what the ledger does not hold waits, and is not asked."""
        only, recompute, refit = (tuple(run.choices.get(key) or ()) for key in ("only", "recompute", "refit"))
        choices = Choices(only=only, until=run.choices.get("until"), recompute=recompute, refit=refit)
        return Synthesis(self.spark, settings, self.stages, choices, serving=Serving(sealed=True)).run()

    def _require_end(self, last: Run, status: int) -> None:
        """Raise GateStop unless the replay ended as the run did."""
        wanted = {"done": 0, "deferred": 4}[last.status]
        if status == wanted:
            return
        waiting = History(Tables(self.spark, StorageSettings(root=self.root))).waiting()
        asked = ", ".join(f"{name} {count}" for name, count in sorted(waiting.items()))
        why = f"rows wait for answers that the ledger does not hold ({asked})" if waiting else f"exit status {status}"
        raise GateStop(f"the replay did not end as run {last.run_id} did ({last.status}): {why}; no call was made")

    # -- the proof --------------------------------------------------------------------------------------

    def _compared(self, name: str, last: Run, later: Sequence[Run]) -> Comparison:
        new = Tables(self.spark, StorageSettings(root=self.root))
        return compare(name, self._as_of(name, last, later), new.read(name))

    def _as_of(self, name: str, last: Run, later: Sequence[Run]) -> DataFrame:
        """A table of the old root as the run left it."""
        if not later:
            return self.old.read(name)
        executed = self._executed(last, later[0].sequence)
        if name in executed and executed[name]["output_version"] > MISSING:
            frame = self.old.read(name, version=executed[name]["output_version"])
        else:  # the listing of files and of sightings is appended to, and no version of it was noted
            frame = self.old.read(name).where(~F.col("run_id").isin([run.run_id for run in later]))
        return frame

    def _executed(self, last: Run, before: int | None, which: Column | None = None) -> dict[str, Row]:
        """The newest execution of each stage up to a run, among those wanted."""
        rows = self.old.read("stage_runs").where(F.col("output_version") > MISSING)
        rows = rows if which is None else rows.where(which)
        end = before if before is not None else self._next(last)
        mine = rows.where(F.col("sequence") < end) if end is not None else rows
        newest = mine.groupBy("stage").agg(F.max_by(F.struct(*mine.columns), "sequence").alias("row"))
        return {row["stage"]: row["row"] for row in newest.collect()}

    def _next(self, last: Run) -> int | None:
        return next((run.sequence for run in self._known if run.sequence > last.sequence), None)
