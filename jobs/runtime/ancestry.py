"""Follows rows through tables by their parent ids: up to the input files, down to the training set.

It reads tables one level at a time, each table by a small job of its own; what it finds is plain data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.ledger import CALL_COLUMNS
from jobs.runtime.runs import EXECUTION as RUN
from jobs.runtime.tables import Tables, of_each

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


@dataclass
class Made:
    """Rows of one table: how many, and the ids of some or all."""

    count: int = 0
    ids: list[str] = field(default_factory=list)


def find(tables: Tables, ids: Sequence[str], among: Iterable[str] | None = None) -> list[Found]:
    """The rows with these ids (or beginning so, for ids of fewer than 32 characters), in any table or `among` some."""
    located = _located(tables, list(dict.fromkeys(ids)), among)
    found = of_each(located, lambda name: _rows(tables, name, located[name]))
    return [row for rows in found.values() for row in rows]


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
        fresh = [parent for parent in dict.fromkeys(_parents(tables, levels[-1])) if parent not in seen]
        among = set().union(*(reads.get(found.table, set()) for found in levels[-1]))
        level = find(tables, fresh, among or None) if fresh else []
        if not level:
            return levels
        seen.update(fresh)
        levels.append(level)


def descendants(tables: Tables, start: Found, most: int | None = None) -> dict[str, Made]:
    """The rows made from a row, by table: how many, and the ids of the first `most` of each (without it, of all).

    A file can have millions. Their ids stay in Spark: only those that are asked for come here.
    """
    reads = tables_read(tables)
    made: dict[str, Made] = {}
    levels: dict[str, list[DataFrame]] = defaultdict(list)
    level, here = tables.spark.createDataFrame([(start.id,)], "id string"), {start.table}
    try:
        while here:
            readers = {name for name, inputs in reads.items() if inputs & here}
            fresh = _made_from(tables, level, sorted(readers - NOT_FOLLOWED), levels)
            for name, (frame, count) in fresh.items():
                levels[name].append(frame)
                told = made.setdefault(name, Made())
                told.count += count
                told.ids += _first(frame, None if most is None else most - len(told.ids))
            here = set(fresh)
            if fresh:
                level = reduce(DataFrame.union, [frame.select("id") for frame, _ in fresh.values()])
    finally:
        for frame in chain.from_iterable(levels.values()):
            frame.unpersist()
    return made


def _made_from(
    tables: Tables, level: DataFrame, readers: Iterable[str], met: Mapping[str, Sequence[DataFrame]]
) -> dict[str, tuple[DataFrame, int]]:
    """Rows [id, place] of each table that have a parent in the level and were not met before, computed, and how many.

    An id tells its table, so it is met again in the same table or not at all.
    """

    def children(name: str) -> tuple[DataFrame, int]:
        # Where a row lies, so that the first ones are the same however Spark joins.
        rows = tables.read(name).select("id", "parent_ids", F.monotonically_increasing_id().alias("place"))
        rows = rows.select("id", "place", F.explode("parent_ids").alias("parent"))
        found = rows.join(level.select(F.col("id").alias("parent")), "parent", "left_semi")
        found = found.groupBy("id").agg(F.min("place").alias("place"))
        for before in met.get(name, ()):
            found = found.join(before, "id", "left_anti")
        found = found.persist()
        return found, found.count()

    return {name: one for name, one in of_each(filter(tables.exists, readers), children).items() if one[1]}


def _first(frame: DataFrame, most: int | None) -> list[str]:
    """Ids in the order in which their rows lie in the table."""
    if most is not None and most <= 0:
        return []
    ordered = frame.orderBy("place")
    return [row["id"] for row in (ordered if most is None else ordered.limit(most)).select("id").collect()]


def tables_read(tables: Tables) -> dict[str, set[str]]:
    """Which tables each stage read, from what it did: where parents and children of a row are to be looked for."""
    if not tables.exists("stage_runs"):
        return {}
    rows = tables.read("stage_runs").select("stage", F.explode(F.map_keys("inputs")).alias("input")).distinct()
    reads: dict[str, set[str]] = {}
    for row in rows.collect():
        reads.setdefault(row["stage"], set()).add(row["input"])
    return reads


def calls_of(tables: Tables, rows: Iterable[Found]) -> dict[str, dict[str, Any]]:
    """The rows of the ledger that these rows name as theirs or as another draw's, by id; read in one job."""
    named = {str(found.row[column]) for found in rows for column in CALL_COLUMNS if found.row.get(column)}
    if not named or not tables.exists("llm_calls"):
        return {}
    calls = tables.read("llm_calls").where(F.col("id").isin(sorted(named))).collect()
    return {call["id"]: call.asDict(recursive=True) for call in calls}


def written_by(tables: Tables, run_id: str) -> list[dict[str, Any]]:
    """Executions of a run, in order: stage, input versions, output version, counts."""
    mine = F.col("run_id").startswith(run_id) & (F.col("stage") != RUN)
    rows = tables.read("stage_runs").where(mine).orderBy("sequence").collect()
    return [row.asDict(recursive=True) for row in rows]


def _parents(tables: Tables, level: Iterable[Found]) -> list[str]:
    """Ids of what these rows were made from, in their order."""
    held = _holders(tables, [str(found.row["node"]) for found in level if found.table == "nodes"])
    parents: list[str] = []
    for found in level:
        parents += found.row.get("parent_ids") or []
        parents += held.get(str(found.row.get("node")), []) if found.table == "nodes" else []
    return parents


def _holders(tables: Tables, nodes: list[str]) -> dict[str, list[str]]:
    """A value belongs to every conversation that held it: ids of the first few seed paths stand for them."""
    if not nodes:
        return {}
    holding = tables.kept("seed_paths").select("id", F.explode(F.array_distinct("nodes.node")).alias("node"))
    first = F.slice(F.array_sort(F.collect_set("id")), 1, MOST_PARENTS)
    rows = holding.where(F.col("node").isin(nodes)).groupBy("node").agg(first.alias("ids")).collect()
    return {row["node"]: row["ids"] for row in rows}


def _located(tables: Tables, ids: list[str], among: Iterable[str] | None) -> dict[str, list[str]]:
    whole = [i for i in ids if len(i) >= 32]
    parts = [i for i in ids if len(i) < 32]
    matches: Column = F.col("id").isin(whole)
    for part in parts:
        matches = matches | F.col("id").startswith(part)
    return _each(tables, matches, among)


def _rows(tables: Tables, name: str, ids: Sequence[str]) -> list[Found]:
    """The rows with these ids, by id; the first of those that share one."""
    rows = tables.read(name).where(F.col("id").isin(list(ids))).collect()
    by_id = {row["id"]: row for row in reversed(rows)}
    return [Found(name, by_id[i].asDict(recursive=True)) for i in sorted(by_id)]


def _each(tables: Tables, condition: Column, among: Iterable[str] | None = None) -> dict[str, list[str]]:
    """Ids of the rows of stored tables that meet the condition, each once, by table; tables without one left out.

    Doubles are few, and for Spark leaving them out would be a shuffle.
    """
    names = [name for name in sorted(sql.tables() if among is None else among) if name not in NOT_FOLLOWED]

    def ids(name: str) -> list[str]:
        return list(dict.fromkeys(row["id"] for row in tables.read(name).where(condition).select("id").collect()))

    found = of_each(filter(tables.exists, names), ids)
    return {name: held for name, held in found.items() if held}
