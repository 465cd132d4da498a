"""Counts how many conversations hold a value, and how many hold two values of different fields together.

It refuses to know how values were extracted or merged, and what the counts are for. Counts are additive: the counts
of two sets of conversations add up to the counts of their union.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphs.distinct import distinct

Ints = npt.NDArray[np.int64]

PAIRS_AT_ONCE = 1 << 23  # pairs expanded together: bounds the memory of a group (64 MiB per array)
# Edges leave a group by source, its targets in a list: half the bytes of a row per edge on the way into the JVM.
TARGETS = pa.list_(pa.struct([("target", pa.string()), ("target_field", pa.string()), ("count", pa.int64())]))
GROUP_COLUMNS = (
    "setting string, document_type string, source string, source_field string, "
    "targets array<struct<target: string, target_field: string, count: bigint>>"
)


def node_key(setting: Column | str, document_type: Column | str, field: Column | str, value: Column | str) -> Column:
    """The id of a node: 32 hexadecimal digits of SHA-256 over its key. A string is a column's name."""
    parts = [F.col(part) if isinstance(part, str) else part for part in (setting, document_type, field, value)]
    digests = [F.sha2(F.coalesce(part.cast("string"), F.lit("")), 256) for part in parts]  # fixed width: no joins
    return F.substring(F.sha2(F.concat(*digests), 256), 1, 32)


def node_id(setting: str, document_type: str, field: str, value: str) -> str:
    """`node_key` in plain Python."""
    digests = [hashlib.sha256(part.encode()).hexdigest() for part in (setting, document_type, field, value)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:32]


def count_nodes(paths: DataFrame) -> DataFrame:
    """[setting, document_type, field, value, node, count]: conversations that hold the value.

    `paths` is [setting, document_type, conversation, nodes array<struct<field, value, node>>]; a value that a
    conversation holds twice counts once.
    """
    held = paths.select("setting", "document_type", "conversation", F.explode("nodes").alias("held"))
    return (
        held.select("setting", "document_type", "conversation", "held.field", "held.value", "held.node")
        .groupBy("setting", "document_type", "field", "value", "node")
        .agg(F.count_distinct("conversation").alias("count"))
    )


def count_edges(paths: DataFrame, buckets: int = 1) -> DataFrame:
    """[setting, document_type, source, target, source_field, target_field, count]: conversations that hold both.

    source < target by (field, node); no edges inside a field, none from a node to itself. Conversations are
    shuffled, not pairs: one group per (setting, type), or `buckets` groups (by the hash of the source) where a type
    is too large for one worker. The result is the same for any number of buckets.
    """
    held = F.transform(
        "nodes",
        lambda node: F.struct(
            node["field"].alias("field"),
            node["node"].alias("node"),
            F.pmod(F.xxhash64(node["node"]), F.lit(buckets)).cast("int").alias("bucket"),
        ),
    )
    spread = paths.select("setting", "document_type", "conversation", held.alias("nodes")).withColumn(
        "bucket", F.explode(F.array_distinct("nodes.bucket"))
    )
    groups = spread.groupBy("setting", "document_type", "bucket")
    by_source = groups.applyInArrow(cast(Any, edges_of_group), GROUP_COLUMNS)
    edges = by_source.select("setting", "document_type", "source", "source_field", F.inline("targets"))
    return edges.select("setting", "document_type", "source", "target", "source_field", "target_field", "count")


def edges_of_group(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
    """The edges of one (setting, type, bucket) as rows of GROUP_COLUMNS: those whose source is of the bucket.

    Sources are in the order of (field, node), and so are the targets of each.
    """
    setting, document_type, bucket = (part.as_py() for part in key)
    conversation, number, nodes = _held_numbers(table)
    owned = nodes["bucket"].to_numpy() == bucket
    fields = nodes["field"].combine_chunks()
    source, target, count = count_pairs(
        conversation, number, fields.dictionary_encode().indices.to_numpy(zero_copy_only=False), owned
    )
    first = np.flatnonzero(np.concatenate([[True], source[1:] != source[:-1]])) if len(source) else source
    names, targets = nodes["node"].combine_chunks(), pa.array(target)
    held = pa.StructArray.from_arrays(
        [names.take(targets), fields.take(targets), pa.array(count)], fields=list(TARGETS.value_type)
    )
    offsets = np.append(first, len(source)).astype(np.int32)
    sources = pa.array(source[first])
    return pa.table(
        {
            "setting": pa.repeat(pa.scalar(setting, pa.string()), len(first)),
            "document_type": pa.repeat(pa.scalar(document_type, pa.string()), len(first)),
            "source": names.take(sources),
            "source_field": fields.take(sources),
            "targets": pa.ListArray.from_arrays(pa.array(offsets), held, type=TARGETS),
        }
    )


def count_pairs(
    conversation: Ints, node: Ints, field: npt.NDArray[Any], owned: npt.NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints]:
    """(source, target, count) of all pairs source < target of different fields, source owned, sorted.

    `conversation` and `node` are parallel [m] and below 2**31, repeats count once; `field` and `owned` tell them of
    each node. Pairs are packed into one 64-bit number, sorted and counted by run length, block by block.
    """
    held = distinct((conversation << 32) | node)
    conversation, node = held >> 32, held & 0xFFFFFFFF
    end = np.searchsorted(conversation, conversation, side="right")
    partners = np.where(owned[node], end - np.arange(len(node)) - 1, 0)
    reached = np.cumsum(partners)
    packed, counts, begin = [], [], 0
    while begin < len(node):
        done = reached[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(reached, done + PAIRS_AT_ONCE, side="right")))
        first = np.repeat(np.arange(begin, stop), partners[begin:stop])
        offset = np.arange(len(first)) - np.repeat(
            reached[begin:stop] - partners[begin:stop] - done, partners[begin:stop]
        )
        source, target = node[first], node[first + 1 + offset]
        across = field[source] != field[target]
        block, times = np.unique((source[across] << 32) | target[across], return_counts=True)
        packed.append(block)
        counts.append(times)
        begin = stop
    return _summed(packed, counts)


def _summed(packed: list[Ints], counts: list[Ints]) -> tuple[Ints, Ints, Ints]:
    """One entry per pair from the counts of the blocks."""
    if len(packed) <= 1:
        pairs = packed[0] if packed else np.empty(0, np.int64)
        total = counts[0] if counts else np.empty(0, np.int64)
    else:
        pairs, inverse = np.unique(np.concatenate(packed), return_inverse=True)
        total = np.zeros(len(pairs), np.int64)
        np.add.at(total, inverse, np.concatenate(counts))
    return pairs >> 32, pairs & 0xFFFFFFFF, total


def _held_numbers(table: pa.Table) -> tuple[Ints, Ints, pa.Table]:
    """Numbers for the conversations and nodes of a group, parallel [m], and the nodes [field, node, bucket].

    Nodes are numbered in the order of (field, node), conversations as they come: only their equality matters.
    """
    lists = table["nodes"].combine_chunks()
    held = pc.list_flatten(lists)
    flat = pa.table({name: pc.struct_field(held, name) for name in ("field", "node", "bucket")})
    nodes = flat.group_by(["field", "node", "bucket"], use_threads=False).aggregate([])
    nodes = nodes.sort_by([("field", "ascending"), ("node", "ascending")])
    number = pc.index_in(flat["node"], value_set=nodes["node"].combine_chunks())
    codes = table["conversation"].combine_chunks().dictionary_encode(null_encoding="encode").indices
    conversation = codes.take(pc.list_parent_indices(lists))
    return _int64(conversation), _int64(number), nodes


def _int64(numbers: Any) -> Ints:
    return np.asarray(numbers.to_numpy(zero_copy_only=False) if len(numbers) else [], dtype=np.int64)
