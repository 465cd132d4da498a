"""Follows rows through tables by their parent ids: up to the input files, down to the training set.

It reads tables one level at a time, in one job a level; what it finds is plain data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.runs import EXECUTION as RUN
from jobs.runtime.tables import Tables

NEAREST = 3  # ids offered where there is none like the one asked for
NOT_FOLLOWED = frozenset({"llm_calls", "deferrals", "stage_runs", "sources", "tombstones"})
MOST_PARENTS = 5  # paths shown for a node that many conversations hold


@dataclass(frozen=True)
class Found:
    """A stored row."""

    table: str
    row: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.row["id"])


def find(tables: Tables, ids: Sequence[str], among: Iterable[str] | None = None) -> list[Found]:
    """The rows with these ids (or beginning so, for ids of fewer than 32 characters), in any table or `among` some."""
    names = _located(tables, list(dict.fromkeys(ids)), among)
    return [found for name, ids_here in names.items() for found in _rows(tables, name, F.col("id").isin(ids_here))]


def nearest(tables: Tables, wanted: str) -> list[tuple[str, str]]:
    """(table, id) of the stored rows whose ids begin most like `wanted`, nearest first: few typing errors apart."""
    apart = F.levenshtein(F.substring("id", 1, len(wanted)), F.lit(wanted), max(2, len(wanted) // 8))
    frames = [
        tables.read(name).select("id", F.lit(name).alias("table"), apart.alias("apart"))
        for name in sorted(sql.tables())
        if name not in NOT_FOLLOWED and tables.exists(name)
    ]
    if not frames:
        return []
    near = reduce(DataFrame.unionByName, frames).where("apart >= 0").distinct().orderBy("apart", "id", "table")
    return [(row["table"], row["id"]) for row in near.limit(NEAREST).collect()]


def ancestors(tables: Tables, start: Found) -> list[list[Found]]:
    """Level by level, the rows a row was made from; the last level holds source files."""
    reads = tables_read(tables)
    levels: list[list[Found]] = [[start]]
    seen = {start.id}
    while True:
        wanted: list[str] = []
        for found in levels[-1]:
            wanted += _parents(tables, found)
        fresh = [parent for parent in dict.fromkeys(wanted) if parent not in seen]
        among = set().union(*(reads.get(found.table, set()) for found in levels[-1]))
        level = find(tables, fresh, among or None) if fresh else []
        if not level:
            return levels
        seen.update(fresh)
        levels.append(level)


def descendants(tables: Tables, start: Found) -> dict[str, list[str]]:
    """Ids of all rows made from a row, by table."""
    reads = tables_read(tables)
    made: dict[str, list[str]] = {}
    level, seen, here = [start.id], {start.id}, {start.table}
    while level:
        is_child = F.arrays_overlap("parent_ids", F.array(*[F.lit(i) for i in level]))
        readers = {name for name, inputs in reads.items() if inputs & here}
        level, here = [], set()
        for row in _each(tables, is_child, readers):
            if row["id"] not in seen:
                seen.add(row["id"])
                level.append(row["id"])
                here.add(row["table"])
                made.setdefault(row["table"], []).append(row["id"])
    return made


def tables_read(tables: Tables) -> dict[str, set[str]]:
    """Which tables each stage read, from what it did: where parents and children of a row are to be looked for."""
    if not tables.exists("stage_runs"):
        return {}
    rows = tables.read("stage_runs").select("stage", F.explode(F.map_keys("inputs")).alias("input")).distinct()
    reads: dict[str, set[str]] = {}
    for row in rows.collect():
        reads.setdefault(row["stage"], set()).add(row["input"])
    return reads


def call_of(tables: Tables, found: Found, column: str = "call_id") -> dict[str, Any] | None:
    """The ledger row behind a row that a teacher wrote, or another one that a column of it names."""
    call = found.row.get(column)
    if not call or not tables.exists("llm_calls"):
        return None
    rows = tables.read("llm_calls").where(F.col("id") == call).collect()
    return rows[0].asDict(recursive=True) if rows else None


def written_by(tables: Tables, run_id: str) -> list[dict[str, Any]]:
    """Executions of a run, in order: stage, input versions, output version, counts."""
    mine = F.col("run_id").startswith(run_id) & (F.col("stage") != RUN)
    rows = tables.read("stage_runs").where(mine).orderBy("sequence").collect()
    return [row.asDict(recursive=True) for row in rows]


def _parents(tables: Tables, found: Found) -> list[str]:
    parents = list(found.row.get("parent_ids") or [])
    if found.table == "nodes":
        # A value belongs to every conversation that held it: the first few by id stand for them.
        holds = F.exists("nodes", lambda node: node["node"] == found.row["node"])
        rows = tables.kept("seed_paths").where(holds).select("id").orderBy("id").limit(MOST_PARENTS).collect()
        parents += [row["id"] for row in rows]
    return parents


def _located(tables: Tables, ids: list[str], among: Iterable[str] | None) -> dict[str, list[str]]:
    whole = [i for i in ids if len(i) >= 32]
    parts = [i for i in ids if len(i) < 32]
    matches: Column = F.col("id").isin(whole)
    for part in parts:
        matches = matches | F.col("id").startswith(part)
    located: dict[str, list[str]] = {}
    for row in _each(tables, matches, among):
        located.setdefault(row["table"], []).append(row["id"])
    return located


def _rows(tables: Tables, name: str, condition: Column) -> Iterable[Found]:
    frame = tables.read(name).where(condition).dropDuplicates(["id"]).orderBy("id")
    return [Found(name, row.asDict(recursive=True)) for row in frame.collect()]


def _each(tables: Tables, condition: Column, among: Iterable[str] | None = None) -> list[Any]:
    """One job over stored tables: (id, table) of the rows that meet the condition."""
    frames: list[DataFrame] = []
    for name in sorted(sql.tables() if among is None else among):
        if name not in NOT_FOLLOWED and tables.exists(name):
            held = tables.read(name).where(condition).select("id").distinct()
            frames.append(held.withColumn("table", F.lit(name)))
    return reduce(DataFrame.unionByName, frames).collect() if frames else []
