"""Decides which raw values of one (document type, field) are the same value, and which of them stands for all.

It refuses to know where values and vectors came from. A value once mapped keeps its mapping; a new one joins a
known canonical value that is near enough, and otherwise may merge with other new ones. Nobody is further than
`similarity` from the value that stands for it: chains of small steps are cut.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphs.checkpoints import checkpointed
from graphs.cover import cover
from graphs.graph_frames import connected_components
from graphs.settings import CanonicalSettings
from graphs.similar_pairs import Ints, near_known, near_pairs, unit_rows

GROUP = ("document_type", "field")
PAIR_COLUMNS = "document_type string, field string, value string, other string, similarity double, known boolean"
MAPPING_COLUMNS = "document_type string, field string, value string, canonical string, similarity double"
SLICES = 32  # components of a group are settled in at most so many tasks


def merge_values(values: DataFrame, known: DataFrame, settings: CanonicalSettings) -> DataFrame:
    """The mapping of the new values, [document_type, field, value, canonical, similarity], already computed.

    `values` [document_type, field, value, vector array<float>] are in normal form; those that `known` [document_type,
    field, value, canonical, vector] has already are left out of the result, for they stay as they are. A value without
    a vector (null, empty or zero) merges with nothing but its own spelling. A new value joins the nearest known
    canonical value; the rest are cut into components of the graph of similar pairs, and each component into groups
    around a value that is near to all of them. Beyond `max_values_per_group` new values of a (type, field) only that
    many, in the order of their hash, are compared with each other.
    """
    new = _new_values(values, known)
    pairs = _similar_pairs(new, known, settings).persist()
    try:
        mapped = pairs.where("known").select(*GROUP, "value", F.col("other").alias("canonical"), "similarity")
        among_new = pairs.where(~F.col("known"))
        if not among_new.isEmpty():
            mapped = mapped.unionByName(_merged(among_new))
        return checkpointed(_with_lone_values(new, mapped))
    finally:
        pairs.unpersist()


def _new_values(values: DataFrame, known: DataFrame) -> DataFrame:
    """Each new value once."""
    once = values.groupBy(*GROUP, "value").agg(F.min("vector").alias("vector"))
    return once.join(known.select(*GROUP, "value"), [*GROUP, "value"], "left_anti")


def _similar_pairs(new: DataFrame, known: DataFrame, settings: CanonicalSettings) -> DataFrame:
    """PAIR_COLUMNS: (new value, nearest known canonical), and the similar pairs among the new values left."""
    stands_for_others = (F.col("value") == F.col("canonical")) & (F.size("vector") > 0)

    def pairs(key: tuple[pa.Scalar, ...], new: pa.Table, known: pa.Table) -> pa.Table:
        document_type, field = (part.as_py() for part in key)
        return pairs_of_group(document_type, field, new, known, settings)

    left, right = (
        frame.select(*GROUP, "value", "vector").groupBy(*GROUP) for frame in (new, known.where(stands_for_others))
    )
    return left.cogroup(right).applyInArrow(cast(Any, pairs), PAIR_COLUMNS)


def pairs_of_group(
    document_type: str, field: str, new: pa.Table, known: pa.Table, settings: CanonicalSettings
) -> pa.Table:
    """The similar pairs of one (type, field) from [value, vector] tables in any order."""
    values, vectors = unit_rows(new)
    canonicals, centres = unit_rows(known)
    nearest, similarity = near_known(vectors, centres, settings.similarity)
    joined, left = np.flatnonzero(nearest >= 0), np.flatnonzero(nearest < 0)
    left = left[_first_by_hash(values.take(pa.array(left)), settings.max_values_per_group)]
    a, b, likeness = near_pairs(vectors[left], settings.similarity)
    others = [canonicals.take(pa.array(nearest[joined])), values.take(pa.array(left[b]))]
    rows = len(joined) + len(a)
    return pa.table(
        {
            "document_type": pa.repeat(pa.scalar(document_type, pa.string()), rows),
            "field": pa.repeat(pa.scalar(field, pa.string()), rows),
            "value": values.take(pa.array(np.concatenate([joined, left[a]]))),
            "other": pa.concat_arrays(others),
            "similarity": np.concatenate([similarity[joined], likeness]),
            "known": np.arange(rows) < len(joined),
        }
    )


def _merged(pairs: DataFrame) -> DataFrame:
    """MAPPING_COLUMNS of all values that occur in a pair, component by component."""
    links = pairs.withColumn("src", _number("value")).withColumn("dst", _number("other"))
    ids = links.select(F.col("src").alias("id")).union(links.select("dst")).distinct()
    component = connected_components(ids, links.select("src", "dst"))
    placed = links.join(component, links["src"] == component["id"])
    placed = placed.withColumn("slice", F.pmod("component", F.lit(SLICES)).cast("int"))
    columns = placed.select(*GROUP, "slice", "value", "other", "similarity")
    return columns.groupBy(*GROUP, "slice").applyInArrow(cast(Any, mapping_of_slice), MAPPING_COLUMNS)


def mapping_of_slice(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
    """The mapping of the values of some whole components, from their similar pairs in any order."""
    document_type, field, _ = (part.as_py() for part in key)
    names = table["value"].to_pylist(), table["other"].to_pylist()
    values = sorted({*names[0], *names[1]})
    number = {value: n for n, value in enumerate(values)}
    a, b = (np.fromiter((number[name] for name in side), np.int64, len(side)) for side in names)
    centre, similarity = cover(len(values), a, b, table["similarity"].to_numpy())
    return pa.table(
        {
            "document_type": pa.repeat(pa.scalar(document_type, pa.string()), len(values)),
            "field": pa.repeat(pa.scalar(field, pa.string()), len(values)),
            "value": pa.array(values, pa.string()),
            "canonical": pa.array([values[c] for c in centre], pa.string()),
            "similarity": similarity,
        }
    )


def _with_lone_values(new: DataFrame, mapped: DataFrame) -> DataFrame:
    """Every new value once: as mapped, or standing for itself."""
    joined = new.select(*GROUP, "value").join(mapped, [*GROUP, "value"], "left")
    return joined.select(
        *GROUP,
        "value",
        F.coalesce("canonical", "value").alias("canonical"),
        F.coalesce("similarity", F.lit(1.0)).alias("similarity"),
    )


def _number(value: str) -> Column:
    """A 64-bit id of a value. Two that share one only meet in a component: pairs decide who merges."""
    return F.xxhash64(*GROUP, value)


def _first_by_hash(values: pa.Array, n: int) -> Ints:
    """The positions, ascending, of the `n` values with the smallest hash: a fixed sample in no particular order."""
    if len(values) <= n:
        return np.arange(len(values), dtype=np.int64)
    digests = [hashlib.sha256(value.encode()).digest() for value in values.to_pylist()]
    return np.sort(np.array(sorted(range(len(digests)), key=digests.__getitem__)[:n], dtype=np.int64))
