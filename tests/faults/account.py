"""What a disturbed root is held against: the tables of an undisturbed one, and the server's own log."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sql
from jobs.runtime.settings import load_settings
from jobs.runtime.tables import Tables

# Which run, batch, call and table version made a row differs by nature; what the row says does not.
ITS_OWN = frozenset({"run_id", "batch", "call_id", "nodes_version", "edges_version"})
ACCOUNTS = frozenset({"stage_runs", "deferrals", "llm_calls"})  # of what was done, not of what came of it
COUNTS = {"nodes": ["node"], "edges": ["source", "target"]}  # sums over batches
# A run that ends for a reason of the world ends with a sentence.
TRACES = re.compile(r"Traceback|^\s+at [\w.$]+\(|\bERROR\b", re.MULTILINE)
DURABLE_S = 1.0  # from a reply's last byte to its line on the disk, on a machine that is busy


def require_equal(spark: SparkSession, whole: Path, disturbed: Path) -> None:
    """Nothing lost, nothing twice: every table says the same, each id stands once. Raises AssertionError."""
    for name in sorted(set(sql.tables()) - ACCOUNTS):
        expected, found = contents(spark, whole, name), contents(spark, disturbed, name)
        ids = [row["id"] for row in found if "id" in row]
        assert len(ids) == len(set(ids)), f"{name}: an id stands twice"
        assert len(found) == len(expected), f"{name}: {len(found)} rows, {len(expected)} without disturbance"
        for one, other in zip(expected, found, strict=True):
            assert one == other, f"{name}: {one} became {other}"


def contents(spark: SparkSession, root: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a table without what is a run's own, floats to five digits, in a fixed order."""
    table = Tables(spark, load_settings(None, [], str(root)).storage).read(name)
    if name in COUNTS:
        assert table.count() == table.select("id", "batch").distinct().count(), f"{name}: a count stands twice"
        table = table.groupBy(*COUNTS[name]).agg(F.sum("count").alias("count"))
    rows = [row.asDict(recursive=True) for row in table.drop(*ITS_OWN).collect()]
    return sorted((rounded(row) for row in rows), key=repr)


def rounded(value: Any) -> Any:
    """Floats to five digits, inside lists and structs too."""
    if isinstance(value, float):
        return round(value, 5) + 0.0
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value


def require_asked_once(requests: Iterable[dict[str, Any]], kills: list[float]) -> None:
    """A request that was answered comes again only when it was in flight at a kill (times of `time.monotonic`)."""
    answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for request in requests:
        if request["answered"]:
            answers[request["hash"]].append(request)
    assert answers, "the job asked nobody"
    for tries in answers.values():
        for first in sorted(tries, key=lambda request: request["start"])[:-1]:
            in_flight = any(first["start"] <= kill <= first["end"] + DURABLE_S for kill in kills)
            assert in_flight, f"asked again though answered: {first}, kills at {kills}"
