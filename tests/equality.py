"""When two roots hold the same (design, section 3): ids, reasons and text alike, floats within 1e-5, sums of counts.

Left out is what tells runs apart and nothing else: run ids, batch marks, epochs, Delta versions, ids of calls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.settings import load_settings
from jobs.runtime.tables import Tables
from jobs.stages import STAGES

TOLERANCE = 1e-5
COUNTED = frozenset({"nodes", "edges"})  # a row per batch and key; the sum is the count
# Of any table: marks of the run, the batch, the epoch, the commit and the call that made a row.
MARKS = frozenset({"run_id", "batch", "type_version", "nodes_version", "edges_version", "call_id"})
MARKS_OF = {"document_types": frozenset({"version"})}
SHOWN = 5  # differences named per table

Rows = dict[str, dict[str, Any]]


def tables_at(spark: SparkSession, root: str | Path) -> Tables:
    """The tables of a root as they are now."""
    return Tables(spark, load_settings(None, [], str(root)).storage)


def result_tables() -> tuple[str, ...]:
    """Every table that stages and the listing of inputs write; not the logs, which tell what happened."""
    written = [name for stage in STAGES for name in (stage.name, *stage.also)]
    return tuple(dict.fromkeys(["source_files", *written]))


def content(tables: Tables, name: str, without: Iterable[str] = ()) -> Rows:
    """The rows of a table by id, without marks and the columns named; counts are summed over batches.

    Raises AssertionError when a row is there twice.
    """
    frame = tables.read(name)
    frame = frame.drop(*MARKS, *MARKS_OF.get(name, ()), *without)
    if name in COUNTED:
        frame = _summed(frame)
    rows = [row.asDict(recursive=True) for row in frame.collect()]
    twice = [key for key, count in Counter(row["id"] for row in rows).items() if count > 1]
    assert not twice, f"{name}: {len(twice)} ids are there more than once, among them {twice[:SHOWN]}"
    return {row["id"]: row for row in rows}


def differences(one: Rows, two: Rows) -> list[str]:
    """In words, what the first has and the second has not, and where rows of one id differ."""
    told = [f"only in the first: {one[key]}" for key in sorted(one.keys() - two.keys())]
    told += [f"only in the second: {two[key]}" for key in sorted(two.keys() - one.keys())]
    for key in sorted(one.keys() & two.keys()):
        mine, theirs = one[key], two[key]
        unlike = [name for name in mine if not alike(mine[name], theirs[name])]
        told += [f"{key[:16]} {name}: {mine[name]!r} ≠ {theirs[name]!r}" for name in unlike]
    return told


def assert_same_tables(
    one: Tables,
    two: Tables,
    names: Iterable[str] | None = None,
    without: Iterable[str] = (),
    may_be_empty: bool = False,
) -> None:
    """Every table of `names` (all but the logs) holds the same in both roots.

    `without` names columns that are known to differ. A table without a row proves nothing, so it fails, too,
    unless it `may_be_empty`.
    """
    faults = []
    for name in result_tables() if names is None else names:
        mine, theirs = content(one, name, without), content(two, name, without)
        if not (mine or may_be_empty):
            faults.append(f"{name} is empty")
        unlike = differences(mine, theirs)
        if unlike:
            shown = "\n    ".join(line[:400] for line in unlike[:SHOWN])
            faults.append(f"{name}: {len(unlike)} differences\n    {shown}")
    assert not faults, "the tables differ:\n  " + "\n  ".join(faults)


def answered_calls(tables: Tables) -> Counter[tuple[str, str | None]]:
    """How often each request was answered, by (key, key of the call it corrects): more than once is money lost."""
    rows = tables.read("llm_calls").where("status = 'ok'").select("key", "parent_key").collect()
    return Counter((row["key"], row["parent_key"]) for row in rows)


def alike(one: object, two: object) -> bool:
    """Equal; floats within the tolerance, at any depth."""
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(one) and math.isnan(two))
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(alike(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(alike(one[key], two[key]) for key in one)
    return one == two


def _summed(counts: DataFrame) -> DataFrame:
    """One row per key with its count over all batches; what sums to nothing is gone."""
    keys = [name for name in counts.columns if name not in ("count", "recipe")]
    total = counts.groupBy(*keys).agg(F.sum("count").alias("count"), F.collect_set("recipe").alias("recipe"))
    return total.where("count <> 0")
