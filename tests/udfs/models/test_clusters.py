"""Clusters: the same for any row order, consistent with later assignment, ties to the smallest index."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.models.clusters import assign_batches, fit_clusters, nearest_centroid
from udfs.models.errors import TooFewRows


def _blobs(rows: int = 90, d: int = 8) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Three well separated groups of sizes 3 : 2 : 1 (times rows / 6): ids, unit vectors, group."""
    rng = np.random.default_rng(3)
    group = np.repeat([0, 1, 2], [rows // 2, rows // 3, rows // 6])
    vectors = np.eye(3, d)[group] + 0.05 * rng.normal(size=(len(group), d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mixed = rng.permutation(len(group))
    return [f"row{i:03d}" for i in range(len(group))], vectors[mixed].round(5).astype(np.float32), group[mixed]


def test_separated_groups_are_found_largest_first() -> None:
    ids, vectors, group = _blobs()
    found = fit_clusters(ids, vectors, 3, seed=7)
    assert found.sizes.tolist() == [45, 30, 15]
    assert (found.labels == group).all()
    assert np.allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-4)
    assert (found.centroids == np.round(found.centroids.astype(np.float64), 5).astype(np.float32)).all()


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(90)))
def test_row_order_changes_nothing(order: list[int]) -> None:
    ids, vectors, _ = _blobs()
    first = fit_clusters(ids, vectors, 7, seed=7)
    second = fit_clusters([ids[i] for i in order], vectors[order], 7, seed=7)
    assert first.centroids.tobytes() == second.centroids.tobytes()
    assert (first.labels[order] == second.labels).all()
    assert [[order[row] for row in rows] for rows in second.examples(4)] == first.examples(4)


def test_a_fitted_row_keeps_its_cluster_when_assigned_again() -> None:
    ids, vectors, _ = _blobs()
    found = fit_clusters(ids, vectors, 7, seed=7)
    labels, similarity = nearest_centroid(vectors, found.centroids)
    assert (labels == found.labels).all() and (similarity == found.similarity).all()
    assert found.sizes.sum() == len(ids) and sorted(found.sizes, reverse=True) == found.sizes.tolist()


def test_examples_are_the_members_nearest_to_the_centroid() -> None:
    ids, vectors, group = _blobs()
    found = fit_clusters(ids, vectors, 3, seed=7)
    for cluster, rows in enumerate(found.examples(5)):
        members = np.flatnonzero(group == cluster)
        nearest = sorted(members, key=lambda row: (-found.similarity[row], ids[row]))[:5]
        assert rows == nearest


def test_too_few_distinct_vectors_stop_the_fit() -> None:
    with pytest.raises(TooFewRows, match="found 2 distinct vectors and needs at least 3") as caught:
        fit_clusters(list("abcd"), np.eye(4)[[0, 0, 1, 1]], 3, seed=1)
    assert (caught.value.found, caught.value.wanted) == (2, 3)
    with pytest.raises(TooFewRows):
        fit_clusters([], np.zeros((0, 4)), 1, seed=1)


def test_zero_vectors_take_no_part() -> None:
    ids, vectors, _ = _blobs()
    padded = np.vstack([np.zeros((40, vectors.shape[1]), np.float32), vectors])
    with_zeros = fit_clusters([f"a{i}" for i in range(40)] + ids, padded, 3, seed=7)
    without = fit_clusters(ids, vectors, 3, seed=7)
    assert (with_zeros.centroids == without.centroids).all()
    assert (with_zeros.labels[:40] == -1).all() and (with_zeros.labels[40:] == without.labels).all()
    assert with_zeros.sizes.sum() == len(ids)
    assert all(row >= 40 for rows in with_zeros.examples(100) for row in rows)


def test_nearest_centroid_by_hand() -> None:
    centroids = np.array([[1, 0], [0, 2], [0, 1]])  # the last two point the same way
    vectors = np.array([[3, 0], [0, 5], [1, 1], [1, 1 + 1e-7], [0, 0], [-1, 0]])
    index, similarity = nearest_centroid(vectors, centroids)
    assert index.tolist() == [0, 1, 0, 0, 0, 1]  # ties and what rounds to a tie go to the smallest index
    assert similarity.tolist() == pytest.approx([1, 1, 0.70711, 0.70711, 0, 0])
    empty = nearest_centroid(np.zeros((0, 2)), centroids)
    assert empty[0].shape == empty[1].shape == (0,)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1_000), n=st.integers(1, 20), k=st.integers(1, 6))
def test_nearest_centroid_agrees_with_plain_python(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, centroids = rng.normal(size=(n, 5)), rng.normal(size=(k, 5))
    index, similarity = nearest_centroid(vectors, centroids)
    for row in range(n):
        cosines = [
            round(float(vectors[row] @ c / (np.linalg.norm(vectors[row]) * np.linalg.norm(c))), 5) for c in centroids
        ]
        assert index[row] == cosines.index(max(cosines))
        assert similarity[row] == pytest.approx(max(cosines), abs=1e-6)


def test_a_null_vector_is_assigned_to_nothing() -> None:
    batch = pd.Series([np.array([0.0, 1.0]), None, np.array([1.0, 0.0])])
    (frame,) = assign_batches(iter([batch]), np.eye(2))
    assert frame["cluster"].tolist() == [1, pd.NA, 0]
    assert frame["similarity"].isna().tolist() == [False, True, False]
