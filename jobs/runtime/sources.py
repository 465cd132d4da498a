"""Registers input files in `source_files`: path, size, time, content hash, format.

It lists and hashes; what is inside a file is read later, on executors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pyspark.sql import functions as F

import sql
from jobs.runtime.errors import SettingsFault
from jobs.runtime.recipes import identity
from jobs.runtime.registered import Contents, Listed, Registered, registered
from jobs.runtime.settings import InputSettings, Settings
from jobs.runtime.summary import Summary
from jobs.runtime.tables import Tables
from udfs.readers import InputFaults, InputFile, list_inputs
from udfs.readers.formats import known_endings
from udfs.readers.hashing import hash_files

KINDS = ("conversations", "documents", "imports")
COLUMNS = "path string, kind string, format string, size bigint, mtime_ns bigint"
NOTE = {"stage": "source_files"}
MOST_SKIPPED = 5  # that are named: a folder of pictures holds any number


def find_inputs(
    inputs: InputSettings,
    seen: Callable[[InputFile], bool] | None = None,
    skipped: dict[str, list[str]] | None = None,
) -> list[InputFile]:
    """Every file the globs name; what was `seen` before is not looked into.

    `skipped` gets, by kind of input, the files below folders that are of no kind that is read. Raises SettingsFault
    with all faults of all lists at once.
    """
    found: list[InputFile] = []
    faults: list[str] = []
    for kind in KINDS:
        passed: list[str] = []
        try:
            found.extend(list_inputs(getattr(inputs, kind), kind, seen, passed))
            if skipped is not None:
                skipped[kind] = passed
        except InputFaults as error:
            faults.extend(f"inputs.{kind}: {fault}" for fault in error.faults)
    if faults:
        raise SettingsFault(faults)
    return found


def skipped_lines(skipped: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A sentence for each kind of input of which folders hold files that are not read; the first are named."""
    for kind, paths in skipped.items():
        if paths:
            more = f" and {len(paths) - MOST_SKIPPED:,} more" if len(paths) > MOST_SKIPPED else ""
            yield (
                f"inputs.{kind}: skipped below folders for their endings, {len(paths):,}: "
                f"{', '.join(paths[:MOST_SKIPPED])}{more}. Read are {known_endings(kind)}: convert what is data, move "
                "the rest away"
            )


def are_given(inputs: InputSettings) -> bool:
    """Whether there are inputs to start from; else it is the demonstration corpus."""
    return bool(inputs.conversations or inputs.imports)


def inputs_of(settings: Settings, state: str) -> InputSettings:
    """The configured inputs, or the demonstration corpus where none are given."""
    if are_given(settings.inputs):
        return settings.inputs
    from jobs.runtime.demo_corpus import build_demo_corpus

    corpus = build_demo_corpus(f"{state}/_demo_corpus", settings.seed)
    return InputSettings(conversations=(str(corpus.conversations),), documents=(str(corpus.documents),))


@dataclass
class Seen:
    """Whether a file stands registered as it is now; the table is read when the first file is asked about."""

    tables: Tables
    _known: Registered | None = None

    def __call__(self, file: InputFile) -> bool:
        if self._known is None:
            # Of its own: asked before the root is locked, and what it saw of versions is not to be relied on later.
            self._known = registered(Tables(self.tables.spark, self.tables.storage))
        listed = self._known.get((file.kind, file.path))
        return listed is not None and listed.stands_as(file.size, file.mtime_ns)


def register(
    tables: Tables, files: list[InputFile], summary: Summary, skipped: Mapping[str, Sequence[str]] | None = None
) -> int:
    """Append files that are new or whose content changed; returns how many. What was `skipped` is named in the summary.

    A file of known path, size and time is not hashed again; one that was only touched is hashed once. A file whose
    content changed under its name is named in the summary, and so is one that is gone, when it is first missed. A
    file that cannot be hashed is registered without: it is read, or waits, and is hashed again by the next run.
    """
    for sentence in skipped_lines(skipped or {}):
        summary.warn(sentence)
    known = registered(tables)
    changes = Changes(tables.run_id)
    _miss(known, files, summary, changes)
    _name_forgotten(known, files, summary)
    for file, content in _hashed(tables, _candidates(known, files)):
        changes.take(file, content, known.get((file.kind, file.path)), summary)
    if changes.amended:
        # First: dying in between, the next run finds the file of no content that is known, and takes it in.
        columns = "id string, size bigint, mtime_ns bigint, content_hash string"
        tables.amend("source_files", tables.spark.createDataFrame(changes.rows(), columns), NOTE)
    if changes.fresh:
        _append(tables, changes.fresh)
    return len(changes.fresh)


def unread(tables: Tables, files: list[InputFile]) -> list[InputFile]:
    """The files that the next run would take in: new ones, and those whose content changed."""
    known = registered(tables)
    candidates = _candidates(known, files)
    again = [file for file in candidates if (file.kind, file.path) in known]
    read = {
        (file.kind, file.path)
        for file, content in _hashed(tables, again)
        if content is not None and known[file.kind, file.path].of(content) is not None
    }
    return [file for file in candidates if (file.kind, file.path) not in read]


def unlist(tables: Tables, kind: str, files: list[InputFile], summary: Summary) -> None:
    """Drop the listing of a kind, so that its inputs are registered as they are now; what is gone is named."""
    here = {(file.kind, file.path) for file in files}
    for (known_kind, path), listed in registered(tables).items():
        if known_kind == kind and not listed.forgotten and (known_kind, path) not in here:
            summary.warn(f"{path}: no longer among the inputs ({kind}); they start again without it")
    # What was forgotten stays listed, so that it is not read again.
    tables.delete("source_files", f"kind = '{kind}' AND reject_reason IS NULL", {**NOTE, "reset": True})


@dataclass
class Changes:
    """What a listing changes in `source_files`: rows to append, and rows to amend, by id."""

    run_id: str
    fresh: list[tuple[InputFile, str | None]] = field(default_factory=list)
    amended: dict[str, tuple[int, int | None, str | None]] = field(default_factory=dict)

    def rows(self) -> list[tuple[Any, ...]]:
        return [(row, *values) for row, values in self.amended.items()]

    def retire(self, rows: Sequence[Listed]) -> None:
        """These contents do not stand under their names any more."""
        for row in rows:
            if row.mtime_ns is not None:
                self.amended[row.id] = (row.size, None, row.content_hash)

    def take(self, file: InputFile, content: str | None, known: Contents | None, summary: Summary) -> None:
        """Take in a file as it was hashed; `known` are the contents that were registered under its name."""
        if known is None:
            self.fresh.append((file, content))
            return
        waiting, current, before = known.waiting, known.current, known.of(content)
        if content is None:
            if waiting is None:
                self.fresh.append((file, None))
            return
        row = waiting or before
        self.retire([other for other in known.rows if other is not row])
        if row is None:
            self.fresh.append((file, content))
        else:
            self.amended[row.id] = (file.size, file.mtime_ns, content)
        if before is None and known.hashed:
            summary.warn(f"{file.path}: content changed since an earlier run; the file is read again as a new one")
        elif before is not None and current is not None and current.content_hash != content:
            summary.warn(
                f"{file.path}: content changed back to what it was in an earlier run; rows of both contents stay"
            )


def _miss(known: Registered, files: Sequence[InputFile], summary: Summary, changes: Changes) -> None:
    """Name the files that are missed for the first time, and count those that were missed before.

    One that waits to be read is named by the stage that reads it.
    """
    here = {(file.kind, file.path) for file in files}
    away = 0
    for (kind, path), listed in known.items():
        if (kind, path) in here or listed.forgotten or listed.waiting is not None:
            continue
        if listed.current is None:
            away += 1
        else:
            summary.warn(f"{path}: an input ({kind}) of an earlier run is no longer among the inputs; its rows stay")
            changes.retire(listed.rows)
    if away:
        summary.warn(f"{away:,} inputs that earlier runs missed are still not among the inputs; their rows stay")


def _name_forgotten(known: Registered, files: Sequence[InputFile], summary: Summary) -> None:
    for file in files:
        listed = known.get((file.kind, file.path))
        if listed is not None and listed.forgotten:
            summary.warn(f"{file.path}: was forgotten and is not read again; take it from inputs.{file.kind}")


def _candidates(known: Registered, files: Sequence[InputFile]) -> list[InputFile]:
    """The files to be hashed: new, touched or changed ones, and those that could not be hashed before."""
    return [
        file
        for file in files
        if (listed := known.get((file.kind, file.path))) is None or listed.is_open(file.size, file.mtime_ns)
    ]


def _hashed(tables: Tables, files: Sequence[InputFile]) -> Iterator[tuple[InputFile, str | None]]:
    """Files with the hash of their content, made on executors; None where one could not be read this time."""
    if not files:
        return
    spark = tables.spark
    frame = spark.createDataFrame(
        pd.DataFrame([{"path": path} for path in {file.path for file in files}]), "path string"
    )
    parts = min(len(files), spark.sparkContext.defaultParallelism * 4)
    hashing: Any = hash_files
    made = frame.repartition(parts).mapInPandas(hashing, "path string, content_hash string").collect()
    contents = {row["path"]: row["content_hash"] for row in made}
    yield from ((file, contents[file.path]) for file in files)


def _append(tables: Tables, fresh: Sequence[tuple[InputFile, str | None]]) -> None:
    told = [(file.path, file.kind, file.format, file.size, file.mtime_ns, content) for file, content in fresh]
    rows = tables.spark.createDataFrame(told, f"{COLUMNS}, content_hash string")
    # Without a hash a file is told by its listing: another content may come to stand under its name.
    unhashed = F.concat_ws(":", F.lit("unread"), F.lit(tables.run_id), "size", "mtime_ns")
    rows = rows.select(
        "*",
        sql.row_id("source_files", "kind", "path", F.coalesce("content_hash", unhashed)).alias("id"),
        F.array().cast("array<string>").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
    )
    added = {"run_id": tables.run_id, "recipe": identity({"revision": 1})}
    tables.append(tables.conform(rows, "source_files", added), "source_files", NOTE)
