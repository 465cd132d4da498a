"""Registers input files in `source_files`: path, size, time, content hash, format.

It lists and hashes; what is inside a file is read later, on executors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pyspark.sql import functions as F

import sql
from jobs.runtime.errors import SettingsFault
from jobs.runtime.recipes import identity
from jobs.runtime.settings import InputSettings, Settings
from jobs.runtime.summary import Summary
from jobs.runtime.tables import Tables
from udfs.readers import InputFaults, InputFile, list_inputs
from udfs.readers.hashing import hash_files

KINDS = ("conversations", "documents", "imports")


@dataclass(frozen=True)
class Known:
    """A file as it was registered."""

    size: int
    mtime_ns: int
    forgotten: bool = field(default=False, compare=False)


def find_inputs(inputs: InputSettings) -> list[InputFile]:
    """Every file the globs name. Raises SettingsFault with all faults of all lists at once."""
    found: list[InputFile] = []
    faults: list[str] = []
    for kind in KINDS:
        try:
            found.extend(list_inputs(getattr(inputs, kind), kind))
        except InputFaults as error:
            faults.extend(f"inputs.{kind}: {fault}" for fault in error.faults)
    if faults:
        raise SettingsFault(faults)
    return found


def inputs_of(settings: Settings, state: str) -> InputSettings:
    """The configured inputs, or the demonstration corpus where none are given."""
    if settings.inputs.conversations or settings.inputs.imports:
        return settings.inputs
    from jobs.runtime.demo_corpus import build_demo_corpus

    corpus = build_demo_corpus(f"{state}/_demo_corpus", settings.seed)
    return InputSettings(conversations=(str(corpus.conversations),), documents=(str(corpus.documents),))


def register(tables: Tables, files: list[InputFile], summary: Summary) -> int:
    """Append files that are new or whose content changed; returns how many.

    A file of known path, size and time is not hashed again. A file whose content changed under its
    name becomes a new row and is named in the summary, and so is one that is gone.
    """
    known = _known(tables)
    here = {(file.kind, file.path) for file in files}
    for (kind, path), file in known.items():
        if file.forgotten and (kind, path) in here:
            summary.warn(f"{path}: was forgotten and is not read again; take it from inputs.{kind}")
        elif not file.forgotten and (kind, path) not in here:
            summary.warn(f"{path}: an input ({kind}) of an earlier run is no longer among the inputs; its rows stay")
    candidates = _unread(known, files)
    if not candidates:
        return 0
    spark = tables.spark
    listed = spark.createDataFrame(
        pd.DataFrame([_row(file) for file in candidates]),
        "path string, kind string, format string, size bigint, mtime_ns bigint",
    )
    parts = min(len(candidates), spark.sparkContext.defaultParallelism * 4)
    schema = "path string, kind string, format string, size bigint, mtime_ns bigint, content_hash string"
    hashing: Any = hash_files
    hashed = listed.repartition(parts).mapInPandas(hashing, schema)
    rows = hashed.select(
        "*",
        sql.row_id("source_files", "kind", "path", "content_hash").alias("id"),
        F.array().cast("array<string>").alias("parent_ids"),
        F.lit(None).cast("string").alias("reject_reason"),
    ).persist()
    fresh = rows.join(tables.read("source_files").select("id"), "id", "left_anti")
    count = fresh.count()
    if count:
        for row in fresh.select("kind", "path").collect():
            if (row["kind"], row["path"]) in known:
                summary.warn(
                    f"{row['path']}: content changed since an earlier run; the file is read again as a new one"
                )
        added = {"run_id": tables.run_id, "recipe": identity({"revision": 1})}
        tables.append(tables.conform(fresh, "source_files", added), "source_files", {"stage": "source_files"})
    rows.unpersist()
    return count


def unread(tables: Tables, files: list[InputFile]) -> list[InputFile]:
    """The files that the next run would take in: new ones, and those whose size or time changed."""
    return _unread(_known(tables), files)


def unlist(tables: Tables, kind: str, files: list[InputFile], summary: Summary) -> None:
    """Drop the listing of a kind, so that its inputs are registered as they are now; what is gone is named."""
    here = {(file.kind, file.path) for file in files}
    for (known_kind, path), file in _known(tables).items():
        if known_kind == kind and not file.forgotten and (known_kind, path) not in here:
            summary.warn(f"{path}: no longer among the inputs ({kind}); they start again without it")
    # What was forgotten stays listed, so that it is not read again.
    tables.delete(
        "source_files", f"kind = '{kind}' AND reject_reason IS NULL", {"stage": "source_files", "reset": True}
    )


def _unread(known: Mapping[tuple[str, str], Known], files: list[InputFile]) -> list[InputFile]:
    return [file for file in files if known.get((file.kind, file.path)) != Known(file.size, file.mtime_ns)]


def _known(tables: Tables) -> dict[tuple[str, str], Known]:
    """The newest registration of each file."""
    if not tables.exists("source_files"):
        return {}
    rows = (
        tables.read("source_files")
        .groupBy("kind", "path")
        .agg(F.max_by(F.struct("size", "mtime_ns", "reject_reason"), "mtime_ns").alias("file"))
    )
    return {
        (r["kind"], r["path"]): Known(r["file"]["size"], r["file"]["mtime_ns"], r["file"]["reject_reason"] is not None)
        for r in rows.collect()
    }


def _row(file: InputFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "kind": file.kind,
        "format": file.format,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
    }
