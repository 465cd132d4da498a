"""Walks of whole groups: sums of batches, names, nearest seed paths, and no effect of partitions or order."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from graphs.settings import WalkSettings
from graphs.walks import EDGE, NODE, SEED, WANTED, edge_weights, sample_walks, walks_of_group

SETTINGS = WalkSettings()
NODES = "setting string, document_type string, field string, value string, node string, count bigint"
EDGES = "setting string, document_type string, source string, target string, count bigint"
SEEDS = (
    "id string, setting string, document_type string, conversation string, "
    "nodes array<struct<field:string,value:string,node:string>>, instruction string"
)
WANTED_ROWS = "setting string, document_type string, first_index bigint, count bigint"
GROUP = pa.schema(
    [
        ("kind", pa.int8()),
        ("a", pa.string()),
        ("b", pa.string()),
        ("c", pa.string()),
        ("count", pa.int64()),
        ("first", pa.int64()),
        ("nodes", pa.list_(pa.string())),
    ]
)
Row = dict[str, Any]


def group_rows(seed: int, conversations: int = 30) -> list[Row]:
    """A graph of random conversations over eight fields, and its seed paths."""
    chance = random.Random(seed)
    held = [{f"n{f}{chance.randint(0, 3)}" for f in range(8) if chance.random() < 0.8} for _ in range(conversations)]
    nodes = Counter(node for path in held for node in path)
    edges = Counter(pair for path in held for pair in combinations(sorted(path), 2) if pair[0][1] != pair[1][1])
    rows: list[Row] = [
        {"kind": NODE, "a": node, "b": f"field{node[1]}", "c": f"value {node}", "count": n} for node, n in nodes.items()
    ]
    rows += [{"kind": EDGE, "a": a, "b": b, "count": n} for (a, b), n in edges.items()]
    rows += [{"kind": SEED, "a": f"s{n:02d}", "b": f"c{n:02d}", "nodes": sorted(path)} for n, path in enumerate(held)]
    return rows


def wanted(first: int, count: int) -> Row:
    return {"kind": WANTED, "first": first, "count": count}


def walks(rows: list[Row], settings: WalkSettings = SETTINGS, seed: int = 1) -> list[Row]:
    table = pa.Table.from_pylist(rows, schema=GROUP)
    return walks_of_group("single", "papers", table, settings, seed).to_pylist()


def test_a_walk_is_named_and_has_its_nearest_seed_path() -> None:
    rows = group_rows(1)
    seeds = {row["a"]: set(row["nodes"]) for row in rows if row["kind"] == SEED}
    edges = {frozenset((row["a"], row["b"])) for row in rows if row["kind"] == EDGE}
    found = walks([*rows, wanted(0, 200)])
    assert [walk["walk_index"] for walk in found] == list(range(200))
    for walk in found:
        nodes = [held["node"] for held in walk["nodes"]]
        assert all(held["field"] == f"field{held['node'][1]}" for held in walk["nodes"])
        assert all(held["value"] == f"value {held['node']}" for held in walk["nodes"])
        assert len({held["field"] for held in walk["nodes"]}) == len(nodes) <= 6
        assert all(frozenset(step) in edges for step in pairwise(nodes))
        overlaps = {name: len(seed & set(nodes)) for name, seed in seeds.items()}
        best = min(overlaps, key=lambda name: (-overlaps[name], name))
        assert (walk["nearest_seed_path"], walk["overlap"]) == (best, overlaps[best])
        assert walk["nearest_conversation"] == best.replace("s", "c")
        assert walk["reason"] is None
        assert len(nodes) >= 4
        assert walk["novel"] == (overlaps[best] < len(nodes))
    assert {walk["novel"] for walk in found} == {True, False}


def test_order_and_batches_do_not_matter() -> None:
    rows = group_rows(2)
    whole = walks([*rows, wanted(0, 60)])
    shuffled = random.Random(0).sample(rows, len(rows))
    assert walks([wanted(0, 60), *shuffled]) == whole
    assert walks([*rows, wanted(0, 25)]) + walks([*rows, wanted(25, 35)]) == whole
    assert walks([*rows, wanted(10, 50), wanted(0, 20)]) == whole  # ranges that overlap
    assert walks([*rows, wanted(0, 60)], seed=2) != whole
    other = walks_of_group("multi", "papers", pa.Table.from_pylist([*rows, wanted(0, 60)], GROUP), SETTINGS, 1)
    assert [walk["nodes"] for walk in other.to_pylist()] != [walk["nodes"] for walk in whole]


def test_counts_are_summed_and_what_is_gone_is_not_walked() -> None:
    rows = group_rows(3)
    split = [row | {"count": row["count"] - 7} for row in rows if row["kind"] in (NODE, EDGE)]
    split += [row | {"count": 7} for row in rows if row["kind"] in (NODE, EDGE)]
    split += [row for row in rows if row["kind"] == SEED]
    turned = [row | {"a": row["b"], "b": row["a"]} if row["kind"] == EDGE else row for row in split]
    forgotten: list[Row] = [
        {"kind": NODE, "a": "n09", "b": "field0", "c": "x", "count": n}
        for n in (3, -3)  # a node taken back
    ]
    forgotten += [
        {"kind": EDGE, "a": "n09", "b": "n11", "count": 9},
        {"kind": EDGE, "a": "n00", "b": "n0?", "count": 9},
    ]
    forgotten += [{"kind": SEED, "a": "t", "b": "c", "nodes": ["n09", "n0?"]}, {"kind": SEED, "a": "u", "nodes": []}]
    assert walks([*turned, *forgotten, wanted(0, 50)]) == walks([*rows, wanted(0, 50)])


def test_too_short_walks_say_so() -> None:
    lone = [
        {"kind": NODE, "a": "n", "b": "f", "c": "v", "count": 1},
        {"kind": SEED, "a": "s", "b": "c", "nodes": ["n"]},
    ]
    for rows in (lone, []):
        found = walks([*rows, wanted(5, 2)])
        assert [walk["walk_index"] for walk in found] == [5, 6]
        assert {walk["reason"] for walk in found} == {"walk_too_short"}
        assert not any(walk["novel"] for walk in found)
        assert [len(walk["nodes"]) for walk in found] == [len(rows) // 2] * 2
    assert found[0]["nearest_seed_path"] is None


def test_fewer_nodes_than_the_minimum_are_enough_when_no_more_are_asked() -> None:
    found = walks([*group_rows(4), wanted(0, 5)], WalkSettings(nodes=3, min_nodes=4))
    assert {walk["reason"] for walk in found} == {None}


def test_weights() -> None:
    counts = np.array([1, 4, 100])
    assert edge_weights(counts, WalkSettings(epsilon=0.5)).tolist() == [1.5, 4.5, 100.5]
    assert edge_weights(counts, WalkSettings(edge_weight="sublinear", tau=0.5)).tolist() == [1.0, 2.0, 10.0]


def frames(spark: SparkSession, groups: dict[tuple[str, str], list[Row]]) -> tuple[DataFrame, DataFrame, DataFrame]:
    rows = [(key, row) for key, part in groups.items() for row in part]
    nodes = [(*key, r["b"], r["c"], r["a"], r["count"]) for key, r in rows if r["kind"] == NODE]
    edges = [(*key, r["a"], r["b"], r["count"]) for key, r in rows if r["kind"] == EDGE]
    seeds = [
        (r["a"], *key, r["b"], [("f", "v", node) for node in r["nodes"]], "do it")
        for key, r in rows
        if r["kind"] == SEED
    ]
    return (
        spark.createDataFrame(nodes, NODES),
        spark.createDataFrame(edges, EDGES),
        spark.createDataFrame(seeds, SEEDS),
    )


@pytest.mark.spark
def test_frames_give_the_same_walks_on_any_partitioning(spark: SparkSession) -> None:
    groups = {
        ("single", "papers"): group_rows(5),
        ("multi", "papers"): group_rows(6),
        ("single", "code"): group_rows(7),
    }
    nodes, edges, seeds = frames(spark, groups)
    asked = spark.createDataFrame(
        [("single", "papers", 0, 20), ("multi", "papers", 3, 5), ("single", "code", 0, 0), ("single", "none", 0, 1)],
        WANTED_ROWS,
    )
    scattered = [frame.repartition(5) for frame in (nodes, edges, seeds)]
    results = [
        sample_walks(*inputs, asked, SETTINGS, seed=1).orderBy("setting", "document_type", "walk_index").collect()
        for inputs in ((nodes, edges, seeds), scattered)
    ]
    assert results[0] == results[1]
    found = [row.asDict(recursive=True) for row in results[0]]
    assert Counter((row["setting"], row["document_type"]) for row in found) == {
        ("single", "papers"): 20,
        ("multi", "papers"): 5,
        ("single", "none"): 1,
    }
    expected = walks([*group_rows(5), wanted(0, 20)])
    assert [row for row in found if (row["setting"], row["document_type"]) == ("single", "papers")] == expected
