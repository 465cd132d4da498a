"""Answers of one ledger for another: `llm_calls` written to files, and read from files or from another root.

An answer belongs to the hash of its request, wherever it was bought; so taking it in twice changes nothing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import fsspec
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs.runtime.errors import SettingsFault
from jobs.runtime.exporting import FORMATS, require_empty, require_one_place, write_format
from jobs.runtime.layout import require_layout
from jobs.runtime.runner import Runner
from jobs.runtime.settings import StorageSettings
from jobs.runtime.tables import Tables
from jobs.runtime.tombstones import without_forgotten_calls
from udfs.llm.calls import CALL_DDL, CALL_SCHEMA

SERVED = ("ok", "lasting")  # passing failures are never served, so nobody needs them
NOTE = {"stage": "llm_calls", "import": True}


def export_calls(runner: Runner, out: str, formats: Sequence[str]) -> int:
    """Write the calls that can be served to `out/<format>/calls-*`; how many.

    Raises SettingsFault when the ledger is empty or `out` holds files already.
    """
    runner.ledger.fold()
    calls = served(runner.tables.read("llm_calls")).persist()
    try:
        count = calls.count()
        if not count:
            raise SettingsFault([f"{runner.tables.state}: the ledger holds no answer; nothing was written"])
        require_empty(out)
        require_one_place(runner.spark, out)
        for name in formats:
            write_format(calls, posixpath.join(out, name), name, "calls", count)
    finally:
        calls.unpersist()
    return count


def import_calls(runner: Runner, calls: DataFrame) -> int:
    """Take in the calls that this ledger cannot serve yet, and that were not forgotten here; how many."""
    runner.ledger.fold()
    tables = runner.tables
    own = tables.read("llm_calls").select("key", "status").distinct()
    fresh = without_forgotten_calls(tables, served(calls).join(own, ["key", "status"], "left_anti"))
    rows = fresh.withColumns(
        {
            "parent_ids": F.array().cast("array<string>"),
            "reject_reason": F.when(F.col("status") != "ok", F.concat(F.lit("llm:"), "error_kind")),
            "recipe": F.col("prompt_sha"),
        }
    )
    conformed = tables.conform(rows, "llm_calls", {}).persist()
    try:
        count = conformed.count()
        if count:
            tables.append(conformed, "llm_calls", NOTE)
    finally:
        conformed.unpersist()
    return count


def calls_in(spark: SparkSession, folder: str) -> DataFrame:
    """The calls of an exported folder, or of the one in it. Raises SettingsFault where there are none, or others."""
    files, path = fsspec.core.url_to_fs(folder)
    below = next((name for name in FORMATS if files.exists(posixpath.join(path, name))), "")
    name = below or posixpath.basename(path.rstrip("/"))
    if name not in FORMATS or not files.exists(path):
        raise SettingsFault([f"{folder}: no exported ledger (expected a folder {' or '.join(FORMATS)} in it)"])
    reader = spark.read.schema(CALL_DDL) if name == "jsonl" else spark.read
    place = posixpath.join(folder, below).rstrip("/")
    calls = reader.json(place) if name == "jsonl" else reader.parquet(place)
    missing = [field.name for field in CALL_SCHEMA if field.name not in calls.columns]
    if missing:
        raise SettingsFault([f"{place}: these are no calls of a ledger; columns missing: {', '.join(missing)}"])
    strangers = calls.where(F.col("key").isNull() | F.col("id").isNull() | ~F.col("status").isin(*SERVED)).limit(1)
    if not strangers.isEmpty():
        raise SettingsFault([f"{place}: rows without id, key or a status that can be served: no exported ledger"])
    return calls


def calls_of(spark: SparkSession, root: str) -> DataFrame:
    """The calls of another root. Raises SettingsFault where there is none, LayoutRefused for one we cannot read."""
    tables = Tables(spark, StorageSettings(root=root))
    if not tables.exists("llm_calls"):
        raise SettingsFault([f"{root}: no ledger here; check --from (nothing was written)"])
    require_layout(tables)
    return tables.read("llm_calls")


def served(calls: DataFrame) -> DataFrame:
    """Of each request the one call that is served: an answer before a failure, then the smallest id."""
    order = Window.partitionBy("key").orderBy(F.col("status") != "ok", "id")
    best = calls.where(F.col("status").isin(*SERVED)).withColumn("_place", F.row_number().over(order))
    return best.where("_place = 1").select(*CALL_SCHEMA.names)
