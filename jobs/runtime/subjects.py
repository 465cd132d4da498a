"""What is asked to be forgotten: the file, record or walk behind a path or the id of any row.

It only looks; nothing is written here.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.ancestry import Found, find
from jobs.runtime.errors import SettingsFault
from jobs.runtime.tables import Tables
from jobs.runtime.tombstones import FILES, RECORDS, WALKS, Subject, found

SHORTEST = 8  # characters of an id that is not given whole
# Tables whose rows are made of one record alone, with the column that names it: such a row stands for its record.
OF_RECORD = {
    "conversations": "id",
    "documents": "id",
    "imports": "id",
    "long_conversations": "conversation",
    "long_documents": "document",
    "meta_records": "conversation",
    "conversation_types": "conversation",
    "seed_paths": "conversation",
    "document_features": "document",
    "document_labels": "document",
    "typed_documents": "document",
}
ABOUT_DOCUMENTS = frozenset({"long_documents", "document_features", "document_labels", "typed_documents"})
# Tables of generated rows, with the column that names their walk: such a row stands for its walk.
OF_WALK = {"walks": "id", "instructions": "walk", "pairings": "walk", "samples": "walk_id"}

OF_SAMPLE = ("influence", "training_set")  # such a row stands for what its sample stands for


def resolve(tables: Tables, sources: Sequence[str], ids: Sequence[str]) -> tuple[list[Subject], list[str]]:
    """(what is to be forgotten, sentences about what was forgotten before).

    A file stands for every content it was read with. Raises SettingsFault with all unknown files and ids at once.
    """
    wanted: list[Subject] = []
    told: list[str] = []
    faults: list[str] = []
    for source in sources:
        _file(tables, source, wanted, told, faults)
    for given in ids:
        _row(tables, given, wanted, told, faults)
    if faults:
        raise SettingsFault(faults)
    return list(dict.fromkeys(wanted)), told


def expand(tables: Tables, subjects: Sequence[Subject]) -> DataFrame:
    """[table, id, asked]: the subjects, and of each file the records that stand in no other file."""
    spark = tables.spark
    given = spark.createDataFrame([(s.table, s.id, s.asked) for s in subjects], "table string, id string, asked string")
    files = given.where(F.col("table") == FILES).select(F.col("id").alias("file"))
    sighted = tables.read("sources").select(
        F.col("record_table").alias("table"), F.col("record").alias("id"), F.col("parent_ids")[0].alias("file")
    )
    others = tables.kept(FILES).select(F.col("id").alias("file")).join(files, "file", "left_anti")
    elsewhere = sighted.join(others, "file", "left_semi").select("id").distinct()
    mine = sighted.join(files, "file", "left_semi").groupBy("table", "id").agg(F.min("file").alias("asked"))
    found = mine.join(elsewhere, "id", "left_anti").select("table", "id", "asked")
    return given.unionByName(found).dropDuplicates(["table", "id"])


def _file(tables: Tables, source: str, wanted: list[Subject], told: list[str], faults: list[str]) -> None:
    path = source if "://" in source else str(Path(source).absolute())
    rows = tables.read(FILES).where(F.col("path").isin(source, path)).select("id", "reject_reason").collect()
    fresh = [row["id"] for row in rows if row["reject_reason"] is None]
    wanted.extend(Subject(FILES, i, i) for i in fresh)
    if rows and not fresh:
        told.append(f"{source}: was forgotten before, {found(tables, rows[0]['id'])}")
    if not rows:
        known = [row["path"] for row in tables.read(FILES).select("path").distinct().limit(10_000).collect()]
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.0)
        faults.append(
            f"--source {source}: {tables.state} never read such a file; the nearest it knows is "
            f"{near[0] if near else 'none'}. Name a file as the table source_files does"
        )


def _row(tables: Tables, given: str, wanted: list[Subject], told: list[str], faults: list[str]) -> None:
    if len(given) < SHORTEST or not all(c in "0123456789abcdef" for c in given):
        faults.append(
            f"--id {given}: an id is made of the digits 0-9a-f, {SHORTEST} of them at least; see jobs/explain.py"
        )
        return
    before = found(tables, given)
    if before is not None:
        told.append(f"{given}: was forgotten before, {before}")
        return
    rows = find(tables, [given])
    if len(rows) != 1:
        some = ", ".join(f"{row.table} {row.id[:16]}" for row in rows[:8])
        what = f"{len(rows)} rows begin so ({some}); give more characters" if rows else "no row has this id"
        faults.append(f"--id {given}: {what}; jobs/explain.py shows a row and what it was made from")
        return
    subject = _stands_for(tables, rows[0])
    if subject is None:
        faults.append(
            f"--id {given}: is a row of {rows[0].table}, which is made from many records; forget the records behind it "
            "(jobs/explain.py names them)"
        )
    else:
        wanted.append(subject)


def _stands_for(tables: Tables, row: Found) -> Subject | None:
    if row.table == FILES:
        return Subject(FILES, row.id, row.id)
    if row.table in OF_RECORD:
        table = row.table if row.table in RECORDS else "documents" if row.table in ABOUT_DOCUMENTS else "conversations"
        return Subject(table, str(row.row[OF_RECORD[row.table]]), row.id)
    if row.table in OF_SAMPLE:
        (sample,) = find(tables, [str(row.row["sample"])], ["samples"])
        behind = _stands_for(tables, sample)
        return behind and replace(behind, asked=row.id)
    if row.table in OF_WALK:
        walk = row.row[OF_WALK[row.table]]
        if walk is None:  # an imported sample
            return Subject("imports", str(row.row["parent_ids"][0]), row.id)
        return Subject(WALKS, str(walk), row.id)
    return None
