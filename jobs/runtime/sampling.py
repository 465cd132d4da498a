"""A real sample of the input that a root has not taken in yet: whole files, read and filtered by the real stages.

Nothing is written; what a run would add to `conversations` and `long_conversations` (or documents) comes out as frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from graphs.checkpoints import checkpointed
from jobs.runtime.runner import Runner
from jobs.runtime.stage import Shared, Stage, keywords, positional
from jobs.runtime.tombstones import reject_forgotten
from udfs.readers import InputFile

# The stage that reads files, the one that filters their records, and the column that names the record.
KINDS = {
    "conversations": ("long_conversations", "conversation"),
    "documents": ("long_documents", "document"),
}


@dataclass(frozen=True)
class Sample:
    """Records of one kind that wait to be filtered or asked about.

    `records` are kept source rows, new and stored; `long` are the rows of the filter for what it has not seen yet;
    `weights` [id] says of each row of `long` how many of the whole input it stands for.
    """

    records: DataFrame
    long: DataFrame
    weights: DataFrame
    files: int
    files_read: int
    scale: float

    @property
    def kept(self) -> DataFrame:
        """The rows of `long` that passed, with their weight."""
        return self.long.where(F.col("reject_reason").isNull()).join(self.weights, "id")


def choose(files: Sequence[InputFile], budget: int, seed: int) -> tuple[list[InputFile], float]:
    """(files to read, how many times larger the whole is): seeded order, until `budget` bytes are together."""
    ordered = sorted(files, key=lambda file: (hashlib.sha256(f"{seed}:{file.path}".encode()).hexdigest(), file.path))
    chosen: list[InputFile] = []
    size = 0
    for file in ordered:
        if chosen and size + file.size > budget:
            break
        chosen.append(file)
        size += file.size
    return chosen, (sum(file.size for file in files) / size if size else 1.0)


def sample(runner: Runner, stages: Mapping[str, Stage], kind: str, files: Sequence[InputFile], budget: int) -> Sample:
    """Read up to `budget` bytes of the unread `files` of a kind (one file at least) and filter their records."""
    long_name, record = KINDS[kind]
    tables, mine = runner.tables, [file for file in files if file.kind == kind]
    chosen, scale = choose(mine, budget, runner.settings.seed)
    stored = tables.kept(kind)
    fresh = checkpointed(_read(runner, stages[kind], chosen).join(stored.select("id"), "id", "left_anti"))
    judged = tables.read(long_name).select(F.col(record).alias("id"))
    standing = stored.join(judged, "id", "left_anti")
    waiting = checkpointed(standing.select(*fresh.columns).unionByName(fresh)) if tables.exists(kind) else fresh
    frames = {kind: waiting, "previous": tables.kept(long_name)}
    long = checkpointed(derive(stages[long_name], frames, runner))
    new = fresh.select(F.col("id").alias(record), F.lit(scale).alias("scale"))
    weight = F.coalesce("scale", F.lit(1.0)).alias("weight")
    weights = long.select("id", record).join(new, record, "left").select("id", weight)
    records = stored.select(*fresh.columns).unionByName(fresh)
    return Sample(records, long, weights, len(mine), len(chosen), scale)


def derive(stage: Stage, frames: Mapping[str, DataFrame], runner: Runner) -> DataFrame:
    """The rows a stage makes of `frames` (by parameter name), under the run's settings."""
    made = stage.function(**call_arguments(stage.function, frames, runner))
    if isinstance(made, Shared):
        made = made.finish(checkpointed(made.base))
    rows: DataFrame = made[stage.name] if isinstance(made, dict) else made
    return rows


def call_arguments(function: Any, frames: Mapping[str, Any], runner: Runner) -> dict[str, Any]:
    """Frames by position and settings sections by keyword; `frames` may also hold the specials of a stage."""
    arguments = {name: frames[name] for name in positional(function)}
    for name in keywords(function):
        arguments[name] = frames[name] if name in frames else getattr(runner.settings, name)
    return arguments


def _read(runner: Runner, stage: Stage, files: Sequence[InputFile]) -> DataFrame:
    """Kept records of files, as the source stage makes them."""
    if not files:
        columns = [name for name in sql.columns(stage.name).names if name not in ("run_id", "recipe")]
        return runner.tables.kept(stage.name).limit(0).select(*columns)
    rows = [(file.path, file.kind, file.format, file.size, file.mtime_ns, None) for file in files]
    listed = runner.spark.createDataFrame(
        rows, "path string, kind string, format string, size bigint, mtime_ns bigint, content_hash string"
    ).withColumn("id", sql.row_id("source_files", "kind", "path"))
    records = derive(stage, {"source_files": listed}, runner)
    kept = reject_forgotten(runner.tables, stage.name, records).where(F.col("reject_reason").isNull())
    columns = [name for name in sql.columns(stage.name).names if name in records.columns]
    return kept.select(*columns)
