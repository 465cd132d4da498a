"""Merging of values: near ones join, chains are cut, what is mapped stays mapped."""

from __future__ import annotations

import math
import random
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from graphs import similar_pairs
from graphs.canonical import merge_values, pairs_of_group
from graphs.settings import CanonicalSettings
from graphs.similar_pairs import near_known, near_pairs, unit_rows

SETTINGS = CanonicalSettings(similarity=0.85)
VALUES = "document_type string, field string, value string, vector array<float>"
KNOWN = "document_type string, field string, value string, canonical string, vector array<float>"

Vector = list[float] | None


def at(degrees: float) -> list[float]:
    """A unit vector in the plane; 31.7 degrees apart is a cosine of 0.851, 32 degrees of 0.848."""
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def table(rows: dict[str, Vector]) -> pa.Table:
    return pa.table(
        {"value": pa.array(rows, pa.string()), "vector": pa.array(list(rows.values()), pa.list_(pa.float32()))}
    )


def merged(spark: SparkSession, values: dict[str, Vector], known: dict[str, tuple[str, Vector]]) -> dict[str, str]:
    new = spark.createDataFrame([("t", "f", value, vector) for value, vector in values.items()], VALUES)
    old = spark.createDataFrame([("t", "f", value, *mapped) for value, mapped in known.items()], KNOWN)
    rows = merge_values(new, old, SETTINGS).collect()
    assert len(rows) == len({row.value for row in rows})
    return {row.value: row.canonical for row in rows}


@pytest.mark.spark
def test_a_chain_is_cut_around_its_middle(spark: SparkSession) -> None:
    values = {"a": at(0), "b": at(25), "c": at(50), "d": at(75), "lone": at(180), "no vector": None, "empty": []}
    assert merged(spark, values, {}) == {
        "a": "b",
        "b": "b",
        "c": "b",
        "d": "d",
        "lone": "lone",
        "no vector": "no vector",
        "empty": "empty",
    }


@pytest.mark.spark
def test_new_values_join_known_ones(spark: SparkSession) -> None:
    known = {"old": ("old", at(0)), "older": ("old", at(30)), "far": ("far", at(90)), "text only": ("text only", None)}
    values = {
        "near": at(-30),
        "near the member only": at(60),  # 30 from `older`, but 60 from `old`: joins `far` at 30
        "beyond": at(-40),
        "beyond too": at(-45),
        "older": at(10),  # known already
    }
    assert merged(spark, values, known) == {
        "near": "old",
        "near the member only": "far",
        "beyond": "beyond",
        "beyond too": "beyond",
    }


@pytest.mark.spark
def test_fields_and_types_are_apart_and_partitions_do_not_matter(spark: SparkSession) -> None:
    chance = random.Random(3)
    rows = [
        (kind, field, f"v{n:02d}", at(chance.uniform(0, 360)))
        for kind in ("x", "y")
        for field in ("f", "g")
        for n in range(30)
    ]
    known = spark.createDataFrame([], KNOWN)
    results = []
    for parts in (1, 5):
        chance.shuffle(rows)
        frame = spark.createDataFrame(rows, VALUES).repartition(parts)
        results.append({tuple(row) for row in merge_values(frame, known, SETTINGS).collect()})
    assert results[0] == results[1]
    vectors = {row[:3]: row[3] for row in rows}
    assert {row[:3] for row in results[0]} == vectors.keys()
    for kind, field, value, canonical, similarity in results[0]:
        cosine = float(np.dot(vectors[kind, field, value], vectors[kind, field, canonical]))
        assert cosine >= SETTINGS.similarity - 1e-5
        assert similarity == pytest.approx(cosine, abs=1e-4)
    stands_for = {row[:3]: row[3] for row in results[0]}
    assert all(stands_for[kind, field, canonical] == canonical for (kind, field, _), canonical in stands_for.items())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 10_000), st.sampled_from([1, 3, 2_048]))
def test_blocks_equal_the_double_loop(n: int, m: int, seed: int, block: int) -> None:
    chance = np.random.default_rng(seed)
    _, new = unit_rows(table({f"n{i:02d}": chance.normal(size=3).tolist() for i in range(n)}))
    _, known = unit_rows(table({f"k{i:02d}": chance.normal(size=3).tolist() for i in range(m)}))
    cosine = [[float(a @ b) / float(np.sqrt(a @ a) * np.sqrt(b @ b)) for b in [*new, *known]] for a in new]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar_pairs, "BLOCK", block)
        patch.setattr(similar_pairs, "CENTRES", block)
        a, b, similarity = near_pairs(new, 0.6)
        nearest, best = near_known(new, known, 0.6)
    expected = {(i, j) for i in range(n) for j in range(i + 1, n) if round(cosine[i][j], 6) >= 0.6}
    assert set(zip(a.tolist(), b.tolist(), strict=True)) == expected
    assert similarity.tolist() == pytest.approx([cosine[i][j] for i, j in zip(a, b, strict=True)], abs=1e-6)
    for i in range(n):
        top = max(cosine[i][n:], default=-1.0)
        assert (nearest[i] >= 0) == (round(top, 6) >= 0.6)
        if nearest[i] >= 0:
            assert cosine[i][n + nearest[i]] == pytest.approx(top, abs=1e-6)
            assert best[i] == pytest.approx(top, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000), st.integers(1, 9))
def test_blocks_of_known_values_change_nothing(n: int, m: int, seed: int, block: int) -> None:
    chance = np.random.default_rng(seed)  # few numbers in two dimensions: many ties, and rows without a vector
    new, known = (100_000.0 * chance.integers(-1, 2, size=(rows, 2)) for rows in (n, m))
    whole = near_known(new, known, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar_pairs, "CENTRES", block)
        parts = near_known(new, known, 0.0)
    assert [part.tolist() for part in parts] == [part.tolist() for part in whole]


def test_of_equally_near_known_values_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar_pairs, "CENTRES", 2)
    known = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [1.0, 0.0]])
    assert near_known(np.array([[1.0, 0.0], [0.0, 0.0]]), known, 0.5)[0].tolist() == [2, -1]


def test_memory_does_not_grow_with_the_known_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar_pairs, "BLOCK", 64)
    monkeypatch.setattr(similar_pairs, "CENTRES", 512, raising=False)
    chance = np.random.default_rng(1)
    new, known = chance.normal(size=(64, 2)), chance.normal(size=(20_000, 2))
    tracemalloc.start()
    try:
        near_known(new, known, 0.5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(new) * len(known) * 8 / 4, "not even a quarter of one table of all cosines"


def test_equal_vectors_have_cosine_one() -> None:
    chance = np.random.default_rng(0)
    vector = chance.normal(size=384).tolist()
    _, rows = unit_rows(table({"a": vector, "b": vector}))
    assert near_pairs(rows, 1.0)[2].tolist() == [1.0]


def test_vectors_that_are_none() -> None:
    rows = {"a": None, "b": [0.0, 0.0], "c": [math.nan, 1.0], "d": [1.0, 0.0], "e": [1.0, 0.0]}
    pairs = pairs_of_group("t", "f", table(rows), table({"z": None}), CanonicalSettings(similarity=0.0))
    assert [(row["value"], row["other"]) for row in pairs.to_pylist()] == [("d", "e")]


def test_too_many_values_are_compared_in_part() -> None:
    rows = {f"v{n}": at(0) for n in range(10)}
    pairs = pairs_of_group("t", "f", table(rows), table({}), CanonicalSettings(max_values_per_group=4))
    held = {row["value"] for row in pairs.to_pylist()} | {row["other"] for row in pairs.to_pylist()}
    assert len(held) == 4


def test_two_encoders_are_refused() -> None:
    with pytest.raises(ValueError, match="different encoders"):
        unit_rows(table({"a": [1.0], "b": [1.0, 0.0]}))
    with pytest.raises(ValueError, match="encoder changed"):
        pairs_of_group("t", "f", table({"a": [1.0]}), table({"b": [1.0, 0.0]}), SETTINGS)
