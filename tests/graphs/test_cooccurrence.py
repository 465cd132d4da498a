"""Node and edge counts against a Counter in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from graphs import cooccurrence
from graphs.cooccurrence import count_edges, count_nodes, edges_of_group, node_id, node_key

PATHS = (
    "setting string, document_type string, conversation string, "
    "nodes array<struct<field:string,value:string,node:string>>"
)
HELD = pa.list_(pa.struct([("field", pa.string()), ("node", pa.string()), ("bucket", pa.int32())]))
KEY = (pa.scalar("single"), pa.scalar("papers"), pa.scalar(0, pa.int32()))

Conversations = dict[str, list[tuple[str, str]]]  # id -> (field, node), repeats allowed
Counts = Counter[tuple[str, str]]


def counted(conversations: Conversations) -> Counts:
    """Pairs (source, target) of different fields, source first by (field, node), once per conversation."""
    return Counter(
        (a[1], b[1]) for held in conversations.values() for a, b in combinations(sorted(set(held)), 2) if a[0] != b[0]
    )


def as_group(conversations: Conversations) -> pa.Table:
    rows = [[{"field": f, "node": n, "bucket": 0} for f, n in held] for held in conversations.values()]
    return pa.table({"conversation": pa.array(conversations, pa.string()), "nodes": pa.array(rows, HELD)})


def rows_of_group(group: pa.Table) -> list[dict[str, Any]]:
    """One row per edge, as Spark spreads them."""
    sources = edges_of_group(KEY, group).to_pylist()
    return [{**source, **target} for source in sources for target in source["targets"]]


def edges(conversations: Conversations) -> Counts:
    rows = rows_of_group(as_group(conversations))
    found = Counter({(row["source"], row["target"]): row["count"] for row in rows})
    assert len(found) == len(rows)
    return found


nodes = st.integers(0, 8).map(lambda n: (f"f{n % 3}", f"{n % 3}{n}"))
conversations = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.lists(nodes, max_size=8), max_size=6)


@settings(max_examples=150, deadline=None)
@given(conversations, st.sampled_from([1, 4, 1 << 23]))
def test_equals_a_counter(held: Conversations, pairs_at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence, "PAIRS_AT_ONCE", pairs_at_once)
        assert edges(held) == counted(held)


@settings(max_examples=60, deadline=None)
@given(conversations, st.data())
def test_counts_of_a_split_add_up(held: Conversations, data: st.DataObject) -> None:
    left = {name for name in held if data.draw(st.booleans())}
    parts = ({n: h for n, h in held.items() if (n in left) == side} for side in (True, False))
    assert sum((edges(part) for part in parts), Counter()) == edges(held)


def test_a_conversation_in_two_rows_counts_once() -> None:
    group = pa.concat_tables([as_group({"c": [("f", "a")]}), as_group({"c": [("g", "b"), ("f", "a")]})])
    assert [row["count"] for row in rows_of_group(group)] == [1]


def test_edges_are_sorted_by_field_and_node() -> None:
    rows = rows_of_group(as_group({"c": [("g", "a"), ("f", "z"), ("f", "y"), ("h", "b")]}))
    ends = [(row["source_field"], row["source"], row["target_field"], row["target"]) for row in rows]
    assert ends == [
        ("f", "y", "g", "a"),
        ("f", "y", "h", "b"),
        ("f", "z", "g", "a"),
        ("f", "z", "h", "b"),
        ("g", "a", "h", "b"),
    ]


def random_paths(seed: int) -> list[tuple[str, str, str, list[tuple[str, str, str]]]]:
    """Conversations of two settings and two types, with repeated values."""
    chance = random.Random(seed)
    rows = []
    for n in range(60):
        key = chance.choice(["single", "multi"]), chance.choice(["papers", "code"])
        held = [(f"f{v % 4}", f"v{v}", node_id(*key, f"f{v % 4}", f"v{v}")) for v in chance.choices(range(20), k=9)]
        rows.append((*key, f"c{n}", held))
    return rows


@pytest.mark.spark
@pytest.mark.parametrize("buckets", [1, 3])
def test_frames_equal_counters(spark: SparkSession, buckets: int) -> None:
    rows = random_paths(7)
    paths = spark.createDataFrame(rows, PATHS).repartition(3)
    held_by = Counter((s, t, f, v, node) for s, t, _, held in rows for f, v, node in set(held))
    assert {tuple(row)[:5]: row["count"] for row in count_nodes(paths).collect()} == held_by

    found = count_edges(paths, buckets).collect()
    pairs: Counter[tuple[str, ...]] = Counter()
    for setting, kind, conversation, held in rows:
        together = counted({conversation: [(f, node) for f, _, node in held]})
        pairs.update({(setting, kind, *pair): n for pair, n in together.items()})
    assert {(r.setting, r.document_type, r.source, r.target): r["count"] for r in found} == pairs
    field_of = {node: f for _, _, _, held in rows for f, _, node in held}
    assert all((r.source_field, r.target_field) == (field_of[r.source], field_of[r.target]) for r in found)


@pytest.mark.spark
def test_node_ids(spark: SparkSession) -> None:
    row = ("single", "papers", "tasks", "größe")
    frame = spark.createDataFrame([row], "setting string, document_type string, field string, value string")
    key = frame.select(node_key("setting", "document_type", F.lit("tasks"), F.col("value")).alias("node")).first()
    assert key is not None
    assert key.node == node_id(*row)
    assert len(key.node) == 32
    assert node_id("a", "b", "cd", "e") != node_id("a", "b", "c", "de")
