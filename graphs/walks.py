"""Samples walks on each (setting, document type) graph and finds the seed path nearest to each.

It refuses to know how counts were made, how many walks are enough, and what is written from them. A whole graph lies
in one Arrow group, with its seed paths: no broadcast, no join per step. Walk i of a (setting, type) is the same
on any partitioning and in whatever batches walks are asked for, as long as the graph is the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphs.distinct import distinct
from graphs.nearest import build_index, nearest_seeds
from graphs.settings import WalkSettings
from graphs.walk_kernel import WalkGraph, Walks, build_graph, sample

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOO_SHORT = "walk_too_short"
NODE, EDGE, SEED, WANTED = 0, 1, 2, 3  # the kinds of row of one group

NODE_LIST = pa.list_(pa.struct([("field", pa.string()), ("value", pa.string()), ("node", pa.string())]))
WALK_SCHEMA = pa.schema(
    [
        ("setting", pa.string()),
        ("document_type", pa.string()),
        ("walk_index", pa.int64()),
        ("nodes", NODE_LIST),
        ("redraws", pa.int32()),
        ("reason", pa.string()),
        ("nearest_seed_path", pa.string()),
        ("nearest_conversation", pa.string()),
        ("overlap", pa.int32()),
        ("novel", pa.bool_()),
    ]
)
WALK_COLUMNS = (
    "setting string, document_type string, walk_index bigint, "
    "nodes array<struct<field:string,value:string,node:string>>, redraws int, reason string, "
    "nearest_seed_path string, nearest_conversation string, overlap int, novel boolean"
)


@dataclass(frozen=True)
class NamedGraph:
    """A walk graph and the names of its nodes, which are numbered in the order of (field, node id)."""

    node: pa.Array  # string [n]
    field: pa.Array  # string [n]
    value: pa.Array  # string [n]
    arrays: WalkGraph


def sample_walks(
    nodes: DataFrame,
    edges: DataFrame,
    seed_paths: DataFrame,
    wanted: DataFrame,
    settings: WalkSettings,
    seed: int,
) -> DataFrame:
    """The walks asked for, one row each, columns WALK_COLUMNS.

    `nodes` and `edges` may hold several rows per key, negative counts among them: they are summed, and what sums to
    nothing is gone. `wanted` [setting, document_type, first_index, count] asks for walks first_index ..
    first_index + count - 1. A walk that stays shorter than `min_nodes` has the reason `walk_too_short`.
    `overlap` is the size of the largest intersection with a seed path (ties to the smallest id); a walk is `novel`
    when no single seed path holds all its nodes, so that they come from two conversations or more.
    """
    rows = _tagged_rows(nodes, edges, seed_paths, wanted)

    def walk_group(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        setting, document_type = (part.as_py() for part in key)
        return walks_of_group(setting, document_type, table, settings, seed)

    return rows.groupBy("setting", "document_type").applyInArrow(cast(Any, walk_group), WALK_COLUMNS)


def walks_of_group(setting: str, document_type: str, table: pa.Table, settings: WalkSettings, seed: int) -> pa.Table:
    """The walks of one (setting, type), from its tagged rows in any order."""
    kind = table["kind"].to_numpy()
    part = {k: table.filter(pa.array(kind == k)) for k in (NODE, EDGE, SEED, WANTED)}
    graph = build_named_graph(part[NODE], part[EDGE], settings)
    indexes = _wanted_indexes(part[WANTED])
    key = stream_key(setting, document_type, seed)
    walks = sample(
        graph.arrays,
        key,
        indexes,
        settings.nodes,
        min(settings.min_nodes, settings.nodes),
        settings.max_redraws,
    )
    seeds = part[SEED].take(pc.sort_indices(part[SEED]["a"]))
    nearest, overlap = _nearest(graph, seeds, walks)
    return _walk_table(setting, document_type, indexes, walks, graph, seeds, nearest, overlap, settings)


def stream_key(setting: str, document_type: str, seed: int) -> int:
    """The 64-bit key from which all walks of a (setting, type) draw."""
    name = json.dumps(["walks", setting, document_type, seed])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def build_named_graph(nodes: pa.Table, edges: pa.Table, settings: WalkSettings) -> NamedGraph:
    """Sum the counts, drop what is gone, number the nodes by (field, id) and weigh the edges."""
    ids = nodes.group_by(["a"], use_threads=False).aggregate([("b", "min"), ("c", "min"), ("count", "sum")])
    ids = ids.filter(pc.greater(ids["count_sum"], 0)).sort_by([("b_min", "ascending"), ("a", "ascending")])
    node, field, value = (ids[name].combine_chunks() for name in ("a", "b_min", "c_min"))
    fields = np.unique(field.to_numpy(zero_copy_only=False).astype(str))
    field_number = pc.index_in(field, pa.array(fields, pa.string())).to_numpy(zero_copy_only=False)
    source, target, count = _summed_edges(
        numbers_of(edges["a"], node), numbers_of(edges["b"], node), edges["count"].to_numpy()
    )
    arrays = build_graph(field_number.astype(np.int64), source, target, edge_weights(count, settings))
    return NamedGraph(node, field, value, arrays)


def edge_weights(count: Ints, settings: WalkSettings) -> Floats:
    """f + ε (`paper`: the softmax of log counts is the counts themselves) or f^τ (`sublinear`)."""
    if settings.edge_weight == "sublinear":
        return np.power(count.astype(np.float64), settings.tau)
    return count.astype(np.float64) + settings.epsilon


def numbers_of(names: pa.ChunkedArray | pa.Array, known: pa.Array) -> Ints:
    """The position of each name in `known`, -1 where it is not there."""
    found = pc.fill_null(pc.index_in(names, value_set=known), -1)
    return cast(Ints, found.to_numpy(zero_copy_only=False).astype(np.int64)) if len(found) else np.empty(0, np.int64)


def _summed_edges(source: Ints, target: Ints, count: Ints) -> tuple[Ints, Ints, Ints]:
    """One entry per undirected edge between known nodes with a positive sum, sorted by (source, target)."""
    here = (source >= 0) & (target >= 0) & (source != target)
    low, high = np.minimum(source, target)[here], np.maximum(source, target)[here]
    packed = (low << 32) | high
    order = np.argsort(packed, kind="stable")
    packed, count = packed[order], count[here][order]
    first = np.flatnonzero(np.concatenate([[True], packed[1:] != packed[:-1]])) if len(packed) else order
    total = np.add.reduceat(count, first) if len(packed) else count
    kept = first[total > 0]
    return packed[kept] >> 32, packed[kept] & 0xFFFFFFFF, total[total > 0]


def _wanted_indexes(wanted: pa.Table) -> Ints:
    """The walk numbers asked for, ascending, each once."""
    ranges = [
        np.arange(first, first + max(count, 0), dtype=np.int64)
        for first, count in zip(wanted["first"].to_pylist(), wanted["count"].to_pylist(), strict=True)
    ]
    return distinct(np.concatenate(ranges)) if ranges else np.empty(0, dtype=np.int64)


def _nearest(graph: NamedGraph, seeds: pa.Table, walks: Walks) -> tuple[Ints, Ints]:
    """(row of `seeds`, overlap) of each walk; nodes that only a seed path knows can be in no walk."""
    lists = seeds["nodes"].combine_chunks()
    seed = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    node = numbers_of(pc.list_flatten(lists), graph.node)
    index = build_index(len(graph.node), len(seeds), seed[node >= 0], node[node >= 0])
    return nearest_seeds(index, walks.nodes)


def _walk_table(
    setting: str,
    document_type: str,
    indexes: Ints,
    walks: Walks,
    graph: NamedGraph,
    seeds: pa.Table,
    nearest: Ints,
    overlap: Ints,
    settings: WalkSettings,
) -> pa.Table:
    """Rows of WALK_SCHEMA."""
    short = walks.length < min(settings.min_nodes, settings.nodes)
    row = pa.array(nearest, mask=nearest < 0)
    columns = [
        pa.repeat(pa.scalar(setting, pa.string()), len(indexes)),
        pa.repeat(pa.scalar(document_type, pa.string()), len(indexes)),
        pa.array(indexes),
        _node_lists(walks, graph),
        pa.array(walks.redraws),
        pc.if_else(pa.array(short), TOO_SHORT, pa.scalar(None, pa.string())),
        seeds["a"].combine_chunks().take(row),
        seeds["b"].combine_chunks().take(row),
        pa.array(overlap.astype(np.int32)),
        pa.array(~short & (overlap < walks.length)),
    ]
    return pa.table(columns, schema=WALK_SCHEMA)


def _node_lists(walks: Walks, graph: NamedGraph) -> pa.Array:
    """The walks' nodes by name, in visiting order."""
    flat = pa.array(walks.nodes[walks.nodes >= 0])
    offsets = np.concatenate([[0], np.cumsum(walks.length)]).astype(np.int32)
    structs = pa.StructArray.from_arrays(
        [graph.field.take(flat), graph.value.take(flat), graph.node.take(flat)],
        fields=list(NODE_LIST.value_type),
    )
    return pa.ListArray.from_arrays(pa.array(offsets), structs, type=NODE_LIST)


def _tagged_rows(nodes: DataFrame, edges: DataFrame, seed_paths: DataFrame, wanted: DataFrame) -> DataFrame:
    """One frame of all four inputs, for the groups that are wanted: a group can take one or two frames, not four."""
    groups = wanted.where(F.col("count") > 0).select("setting", "document_type").distinct()
    text, number, texts = (
        F.lit(None).cast("string"),
        F.lit(None).cast("bigint"),
        F.lit(None).cast("array<string>"),
    )
    node_rows = _tagged(nodes, NODE, F.col("node"), F.col("field"), F.col("value"), F.col("count"), number, texts)
    edge_rows = _tagged(edges, EDGE, F.col("source"), F.col("target"), text, F.col("count"), number, texts)
    ids = F.col("nodes.node")
    seed_rows = _tagged(seed_paths, SEED, F.col("id"), F.col("conversation"), text, number, number, ids)
    rows = node_rows.unionByName(edge_rows).unionByName(seed_rows)
    wanted_rows = _tagged(wanted, WANTED, text, text, text, F.col("count"), F.col("first_index"), texts)
    return rows.join(groups, ["setting", "document_type"], "left_semi").unionByName(
        wanted_rows.where(F.col("count") > 0)
    )


def _tagged(frame: DataFrame, kind: int, a: Any, b: Any, c: Any, count: Any, first: Any, nodes: Any) -> DataFrame:
    """The frame in the one shape of a group's rows."""
    return frame.select(
        "setting",
        "document_type",
        F.lit(kind).cast("tinyint").alias("kind"),
        a.cast("string").alias("a"),
        b.cast("string").alias("b"),
        c.cast("string").alias("c"),
        count.cast("bigint").alias("count"),
        first.cast("bigint").alias("first"),
        nodes.alias("nodes"),
    )
