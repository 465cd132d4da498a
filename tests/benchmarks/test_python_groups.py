"""Python stages that take a whole group at a time, against their functions in a bare loop over the groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from graphs.canonical import PAIR_COLUMNS, pairs_of_group
from graphs.cooccurrence import GROUP_COLUMNS, count_pairs, edges_of_group
from graphs.settings import CanonicalSettings, WalkSettings
from graphs.statistics import figures_of_group
from graphs.values import GRAPH_FIELDS
from graphs.walks import EDGE, NODE, SEED, WALK_COLUMNS, WANTED, walks_of_group
from tests.benchmarks.stages import Case, compare
from tests.benchmarks.synthetic import held_values

TYPES = 10
WALKS, CANONICAL = WalkSettings(), CanonicalSettings()
WALKS_A_TYPE = 10_000

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

Group = Callable[[int, float], pa.Table]  # (number, megabytes) to a group's rows of about that size


def write_groups(make: Group) -> Callable[[Path, float], float]:
    """One file for each of ten groups."""

    def write(folder: Path, megabytes: float) -> float:
        folder.mkdir(parents=True)
        size = 0
        for number in range(TYPES):
            table = make(number, megabytes / TYPES)
            keyed = table.append_column("document_type", pa.repeat(f"type {number}", table.num_rows))
            pq.write_table(keyed, folder / f"{number}.parquet")
            size += table.nbytes
        return size / 1e6

    return write


def grouped_case(
    share: float, make: Group, function: Callable[[pa.Table], pa.Table], columns: str, number: str, value: Any
) -> Case:
    """`function` makes rows of `columns` of a group; `number` (SQL) and `value` make one number of them."""

    def applied(key: Any, table: pa.Table) -> pa.Table:
        return function(table)

    def frame(rows: DataFrame) -> DataFrame:
        told: Any = applied
        return rows.groupBy("document_type").applyInArrow(told, columns).agg(F.expr(f"double({number})").alias("n"))

    return Case(share, write_groups(make), frame, lambda table: float(value(function(table))), grouped=True)


def ids(count: int, number: int) -> pa.Array:
    return pa.array([f"{number:08x}{each:024x}" for each in range(count)], pa.string())


def graph(number: int, conversations: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Nodes [field, value, node], edges [source, target, count] and seed paths [id, nodes] of so many conversations."""
    conversation, field, value = held_values(conversations, number)
    distinct, node = np.unique(field << 48 | value, return_inverse=True)
    source, target, count = count_pairs(
        conversation, node.astype(np.int64), distinct >> 48, np.ones(len(distinct), dtype=bool)
    )
    names = ids(len(distinct), number)
    fields = pa.array(GRAPH_FIELDS, pa.string()).take(pa.array(distinct >> 48))
    nodes = pa.table({"field": fields, "value": names, "node": names})
    edges = pa.table({"source": names.take(source), "target": names.take(target), "count": count})
    starts = np.searchsorted(conversation, np.arange(conversations + 1)).astype(np.int32)
    held = pa.ListArray.from_arrays(pa.array(starts), names.take(pa.array(node)))
    return nodes, edges, pa.table({"id": ids(conversations, number), "nodes": held})


def rows_of_paths(number: int, megabytes: float) -> pa.Table:
    """Conversations as the edges stage shuffles them."""
    conversations = max(int(megabytes * 1e6 / 1_000), 100)
    nodes, _, seeds = graph(number, conversations)
    flat = pa.compute.list_flatten(seeds["nodes"].combine_chunks())
    places = pa.compute.index_in(flat, nodes["node"].combine_chunks())
    held = pa.StructArray.from_arrays(
        [nodes["field"].combine_chunks().take(places), flat, pa.repeat(pa.scalar(0, pa.int32()), len(flat))],
        names=["field", "node", "bucket"],
    )
    lists = pa.ListArray.from_arrays(seeds["nodes"].combine_chunks().offsets, held)
    return pa.table({"conversation": seeds["id"], "nodes": lists})


def rows_of_graph(number: int, megabytes: float) -> pa.Table:
    """A graph, its seed paths and a wish for walks, in the one shape that they are shuffled in."""
    nodes, edges, seeds = graph(number, max(int(megabytes * 1e6 / 11_000), 100))
    text, texts = pa.scalar(None, pa.string()), pa.scalar(None, pa.list_(pa.string()))
    none = pa.scalar(None, pa.int64())

    def tagged(kind: int, rows: int, **columns: Any) -> pa.Table:
        empty = {"a": text, "b": text, "c": text, "count": none, "first": none, "nodes": texts}
        whole = {name: columns.get(name, pa.repeat(value, rows)) for name, value in empty.items()}
        return pa.table({"kind": pa.repeat(pa.scalar(kind, pa.int8()), rows), **whole})

    ones = pa.repeat(pa.scalar(1, pa.int64()), nodes.num_rows)
    return pa.concat_tables(
        [
            tagged(NODE, nodes.num_rows, a=nodes["node"], b=nodes["field"], c=nodes["value"], count=ones),
            tagged(EDGE, edges.num_rows, a=edges["source"], b=edges["target"], count=edges["count"]),
            tagged(SEED, seeds.num_rows, a=seeds["id"], b=seeds["id"], nodes=seeds["nodes"]),
            tagged(WANTED, 1, count=pa.array([WALKS_A_TYPE]), first=pa.array([0])),
        ]
    )


def rows_of_links(number: int, megabytes: float) -> pa.Table:
    """A graph as its figures are worked out from it: nodes are numbers."""
    nodes, edges, _ = graph(number, max(int(megabytes * 1e6 / 3_000), 100))
    text = pa.scalar(None, pa.string())

    def numbers(names: pa.ChunkedArray) -> pa.Array:
        return pa.compute.index_in(names.combine_chunks(), nodes["node"].combine_chunks()).cast(pa.int64())

    def tagged(is_edge: bool, rows: int, **columns: Any) -> pa.Table:
        empty = {"a": None, "b": pa.scalar(None, pa.int64()), "field": text, "value": text, "node": text, "count": None}
        whole = {name: columns[name] if name in columns else pa.repeat(value, rows) for name, value in empty.items()}
        return pa.table({"is_edge": pa.repeat(is_edge, rows), **whole})

    ones = pa.repeat(pa.scalar(1, pa.int64()), nodes.num_rows)
    named = {name: nodes[name] for name in ("field", "value", "node")}
    return pa.concat_tables(
        [
            tagged(False, nodes.num_rows, a=numbers(nodes["node"]), count=ones, **named),
            tagged(True, edges.num_rows, a=numbers(edges["source"]), b=numbers(edges["target"]), count=edges["count"]),
        ]
    )


def rows_of_values(number: int, megabytes: float) -> pa.Table:
    """Values with unit vectors of 384 numbers; one in three is near the one before it."""
    rng = np.random.default_rng(number)
    vectors = rng.normal(size=(max(int(megabytes * 1e6 / 1_580), 60), 384))
    vectors[2::3] = vectors[1::3][: len(vectors[2::3])] + 0.2 * vectors[2::3]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    held = pa.ListArray.from_arrays(
        pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * 384), pa.array(vectors.astype(np.float32).ravel())
    )
    return pa.table({"value": ids(len(vectors), number), "vector": held})


def edges_case() -> Case:
    key = tuple(pa.scalar(part) for part in ("single", "type", 0))
    total = "sum(aggregate(targets.count, 0L, (a, b) -> a + b))"
    return grouped_case(
        0.2,
        rows_of_paths,
        lambda table: edges_of_group(key, table),
        GROUP_COLUMNS,
        total,
        lambda made: pa.compute.sum(made["targets"].combine_chunks().flatten().field("count")).as_py(),
    )


def walks_case() -> Case:
    return grouped_case(
        1.0,
        rows_of_graph,
        lambda table: walks_of_group("single", "type", table, WALKS, 7),
        WALK_COLUMNS,
        "sum(overlap * 1000 + size(nodes) + redraws)",
        lambda made: sum(
            overlap * 1_000 + len(nodes) + redraws
            for overlap, nodes, redraws in zip(
                *(made[name].to_pylist() for name in ("overlap", "nodes", "redraws")), strict=True
            )
        ),
    )


def figures_case() -> Case:
    def figures(table: pa.Table) -> pa.Table:
        told = figures_of_group(table)
        return pa.table({name: [told[name]] for name in ("nodes", "edges", "communities", "largest_component")})

    return grouped_case(
        0.2,
        rows_of_links,
        figures,
        "nodes bigint, edges bigint, communities bigint, largest_component bigint",
        "sum(nodes + edges + communities + largest_component)",
        lambda made: sum(column[0].as_py() for column in made.columns),
    )


def values_case() -> Case:
    def pairs(table: pa.Table) -> pa.Table:
        return pairs_of_group("type", "field", table, table.slice(0, 0), CANONICAL)

    return grouped_case(0.1, rows_of_values, pairs, PAIR_COLUMNS, "count(*)", lambda made: made.num_rows)


CASES: dict[str, Callable[[], Case]] = {
    "edges of a type": edges_case,
    "walks of a type": walks_case,
    "figures of a graph": figures_case,
    "similar values": values_case,
}


@pytest.mark.parametrize("name", list(CASES))
def test_group_keeps_its_speed_in_spark(name: str, spark: SparkSession, tmp_path: Path) -> None:
    compare(name, CASES[name](), spark, tmp_path)
