"""Which stored rows go with what was forgotten: frames in, frames of ids out.

Nothing is written here. Every set is told by what is left, not by what was done, so that a forgetting that was
cut short finds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from graphs.values import field_values
from jobs.runtime.ledger import CALL_COLUMNS
from jobs.runtime.subjects import OF_RECORD
from jobs.runtime.tables import Tables

DUPLICATES = ("long_conversations", "long_documents", "instructions")
DUPLICATE = r"^(?:exact|near)_duplicate:([0-9a-f]+)$"
# Tables whose rows name the call that made them.
CALLING = ("meta_records", "task_rewrites", "document_labels", "instructions", "samples")


def of_records(tables: Tables, records: DataFrame) -> dict[str, DataFrame]:
    """[id] per table: rows made of one of the `records` [record] alone, and the sightings of them."""
    columns = {**OF_RECORD, "sources": "record"}
    return {
        name: tables.read(name).withColumn("record", F.col(column)).join(records, "record", "left_semi").select("id")
        for name, column in columns.items()
    }


def sightings_in(tables: Tables, files: DataFrame) -> DataFrame:
    """[id] of the sightings in `files` [file]."""
    return (
        tables.read("sources").withColumn("file", F.col("parent_ids")[0]).join(files, "file", "left_semi").select("id")
    )


def moved(tables: Tables, name: str, files: DataFrame, records: DataFrame) -> DataFrame:
    """Records that stay although their first file goes, with the place of their next sighting as new columns."""
    sighted = tables.read("sources").select(
        F.col("record").alias("id"), F.col("parent_ids")[0].alias("file"), "path", "position"
    )
    left = (
        sighted.join(files, "file", "left_anti")
        .groupBy("id")
        .agg(F.min(F.struct("path", "position", "file")).alias("next"))
    )
    first_there = tables.read(name).select("id", F.col("source_file").alias("file"), F.col("id").alias("record"))
    staying = first_there.join(files, "file", "left_semi").join(records, "record", "left_anti")
    return staying.join(left, "id").select(
        "id",
        F.array("next.file").alias("parent_ids"),
        F.col("next.file").alias("source_file"),
        "next.path",
        "next.position",
    )


def values_left(tables: Tables, records: DataFrame) -> DataFrame:
    """[id, holder]: canonical values whose meta record goes, with the one they can stand on instead, or null."""
    gone = records.withColumnRenamed("record", "conversation")
    metas = tables.kept("meta_records").join(gone, "conversation", "left_anti")
    types = tables.kept("conversation_types").select("conversation", "document_type")
    held = types.join(field_values(metas), "conversation")
    return sql.run(
        "supported_values", held=held, canonical_values=tables.read("canonical_values"), meta_records=metas.select("id")
    )


def rewrites_of(tables: Tables, values: DataFrame) -> DataFrame:
    """[id] of the rewrites of these canonical values [id]."""
    parents = values.select(F.col("id").alias("parent"))
    rows = tables.read("task_rewrites").withColumn("parent", F.col("parent_ids")[0])
    return rows.join(parents, "parent", "left_semi").select("id")


def walks_left_without_graph(tables: Tables, records: DataFrame) -> DataFrame:
    """[id] of the walks that die with the `records`; their counts must be taken off the graph before."""
    gone = records.withColumnRenamed("record", "conversation")
    paths = tables.read("seed_paths").join(gone, "conversation", "left_anti")
    walks, nodes, edges = (tables.read(name) for name in ("walks", "nodes", "edges"))
    return sql.run("dead_walks", walks=walks, nodes=nodes, edges=edges, seed_paths=paths)


def made_from_walks(tables: Tables, walks: DataFrame, records: DataFrame) -> dict[str, DataFrame]:
    """[id] per table: what was made from dead `walks` [id] or with documents among the `records`."""
    dead = walks.select(F.col("id").alias("walk"))
    instructions = tables.read("instructions").join(dead, "walk", "left_semi").select("id")
    pairings = tables.read("pairings")
    held = pairings.select("id", F.explode("documents").alias("record")).join(records, "record", "left_semi")
    paired = pairings.join(dead, "walk", "left_semi").select("id").unionByName(held.select("id")).distinct()
    parents = paired.unionByName(records.select(F.col("record").alias("id")))  # an imported sample's is its record
    made = tables.read("samples").select("id", F.col("parent_ids")[0].alias("parent"))
    sampled = made.join(parents.select(F.col("id").alias("parent")), "parent", "left_semi").select("id")
    dead_samples = sampled.select(F.col("id").alias("sample"))
    return {
        "walks": walks,
        "instructions": instructions,
        "pairings": paired,
        "samples": sampled,
        **{
            name: tables.read(name).select("id", "sample").join(dead_samples, "sample", "left_semi").select("id")
            for name in ("influence", "training_set")
        },
    }


def counted_nothing(tables: Tables, name: str) -> DataFrame:
    """[id] of the nodes or edges whose counts sum to nothing: their rows only keep a text alive."""
    sums = tables.read(name).groupBy("id").agg(F.sum("count").alias("total"))
    return sums.where("total = 0").select("id")


def duplicates(tables: Tables, gone: DataFrame) -> DataFrame:
    """[id, table, input_id]: rows rejected as duplicates of rows `gone` [id, table], which do not go themselves."""
    found = []
    for name in DUPLICATES:
        mine = gone.where(F.col("table") == name)
        twin = F.regexp_extract(F.coalesce("reject_reason", F.lit("")), DUPLICATE, 1)
        judged = (
            tables.read(name).withColumn("twin", twin).join(mine.select(F.col("id").alias("twin")), "twin", "left_semi")
        )
        staying = judged.join(mine.select("id"), "id", "left_anti")
        found.append(staying.select("id", F.lit(name).alias("table"), F.col("parent_ids")[0].alias("input_id")))
    return reduce(DataFrame.unionByName, found)


def examples_left(tables: Tables, records: DataFrame) -> list[tuple[str, list[str]]]:
    """(id, examples) of the document types with an example that no conversation holds any more."""
    gone = records.withColumnRenamed("record", "conversation")
    metas = tables.read("meta_records").join(gone, "conversation", "left_anti")
    held = metas.select(F.trim(F.lower(F.get("document_type", F.lit(0)))).alias("text"))
    types = tables.read("document_types").select("id", "examples").collect()
    shown = sorted({text for row in types for text in row["examples"] or []})
    alive = {row["text"] for row in held.where(F.col("text").isin(shown)).distinct().collect()}
    return [
        (row["id"], [text for text in row["examples"] if text in alive])
        for row in types
        if not alive.issuperset(row["examples"] or [])
    ]


def unused_calls(tables: Tables, stages: frozenset[str]) -> DataFrame:
    """[id] of the calls of these stages that no stored row rests on, with the turns that corrected them.

    A call does not say what it was made from; what nothing rests on may be made from anything.
    """
    none = tables.spark.createDataFrame([], "id string")
    used = [none] + [
        rows.select(F.col(column).alias("id"))
        for rows in (tables.read(name) for name in CALLING if tables.exists(name))
        for column in CALL_COLUMNS
        if column in rows.columns
    ]
    calls = tables.read("llm_calls").withColumn("root", F.coalesce("parent_key", "key"))
    rests = reduce(DataFrame.unionByName, used).distinct()
    kept = calls.join(rests, "id", "left_semi").select("root").distinct()
    return calls.where(F.col("stage").isin(*stages)).join(kept, "root", "left_anti").select("id")


def fits_that_saw(tables: Tables, gone: Mapping[str, DataFrame]) -> list[str]:
    """Fitted tables that were made while rows to be forgotten [id per table] were there."""
    saw = []
    if tables.exists("document_types") and _were_there(tables, gone, "meta_records", "document_types"):
        saw.append("document_types")
    if tables.exists("canonical_values") and _any(gone.get("conversation_types")):
        saw.append("canonical_values")
    if tables.exists("classifier") and _any(gone.get("document_labels")):
        saw.append("classifier")
    return saw


def _any(rows: DataFrame | None) -> bool:
    return rows is not None and not rows.isEmpty()


def _were_there(tables: Tables, gone: Mapping[str, DataFrame], name: str, fit: str) -> bool:
    """Whether a row of `name` that goes was written in the run that fitted `fit`, or before it."""
    if name not in gone:
        return False
    runs = tables.read("stage_runs").groupBy("run_id").agg(F.min("sequence").alias("began"))
    fitted = (
        tables.read(fit).select("run_id").distinct().join(runs, "run_id", "left").agg(F.max("began")).collect()[0][0]
    )
    rows = tables.read(name).join(gone[name], "id", "left_semi")
    written = rows.select("run_id").distinct().join(runs, "run_id", "left")
    # A run that was killed left no mark of when it was: its rows count as seen.
    seen = F.lit(True) if fitted is None else F.coalesce("began", F.lit(0)) <= fitted
    return not written.where(seen).isEmpty()
