"""Makes k clusters of vectors and finds the nearest one of a vector, the same for any order of rows.

It refuses to know what is clustered and how a cluster is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql.pandas.functions import pandas_udf

from udfs.models.errors import TooFewRows

DECIMALS = 5
N_INIT = 10  # restarts; the best inertia wins
ASSIGNED = "cluster int, similarity float"


@dataclass(frozen=True, eq=False)
class Clusters:
    """A fitted clustering, the largest cluster first.

    centroids: float32 [k, d], unit length, rounded to 5 decimals
    labels: int32 [n], cluster of every input row in input order (-1 for a zero vector)
    similarity: float32 [n], cosine of a row and its centroid
    sizes: int64 [k], rows per cluster
    order: int64 [n], input rows in the order the fit saw them (by id)
    """

    centroids: np.ndarray
    labels: np.ndarray
    similarity: np.ndarray
    sizes: np.ndarray
    order: np.ndarray

    def examples(self, count: int) -> list[list[int]]:
        """Per cluster up to `count` input rows, nearest to the centroid first, ties by the order of ids."""
        ranked = sorted(range(len(self.order)), key=lambda place: -self.similarity[self.order[place]])
        rows = self.order[ranked]
        return [rows[self.labels[rows] == k][:count].tolist() for k in range(len(self.centroids))]


def fit_clusters(ids: Sequence[str], vectors: np.ndarray, k: int, seed: int) -> Clusters:
    """K-Means (k-means++, Lloyd) on unit vectors [n, d] in the order of their ids.

    Runs on one thread in float64, so the same rows give the same centroids in any order and partitioning.
    Zero vectors (empty texts) take no part. Labels are those of `nearest_centroid` on the stored centroids,
    so a row keeps its cluster when it is assigned later. Clusters are ordered by size, largest first, then
    by centroid. Raises TooFewRows when fewer than k distinct vectors exist.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    vectors = np.round(np.asarray(vectors, dtype=np.float64), DECIMALS)
    order = id_order(ids, vectors)
    used = order[vectors[order].any(axis=1)] if len(order) else order
    distinct = len(np.unique(vectors[used], axis=0)) if len(used) else 0
    if distinct < k:
        raise TooFewRows(distinct, k, "distinct vectors", "add other input, or ask for a smaller k")
    with threadpool_limits(limits=1):
        fit = KMeans(n_clusters=k, n_init=N_INIT, random_state=seed, algorithm="lloyd").fit(vectors[used])
    centroids = _unit(fit.cluster_centers_)
    labels, _ = nearest_centroid(vectors, centroids)
    sizes = np.bincount(labels[used], minlength=k)
    ranks = sorted(range(k), key=lambda cluster: (-sizes[cluster], centroids[cluster].tolist()))
    centroids = centroids[ranks]
    labels, similarity = nearest_centroid(vectors, centroids)
    labels[~vectors.any(axis=1)] = -1
    sizes = np.bincount(labels[used], minlength=k)
    return Clusters(centroids, labels, similarity, sizes, order)


def nearest_centroid(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index (int32 [n]) and cosine similarity (float32 [n], 5 decimals) of each vector's nearest centroid.

    Similarities are rounded before they are compared; ties go to the smallest index. A zero vector is
    similar to nothing: index 0 at similarity 0.
    """
    similarity = np.round(_cosine_rows(vectors) @ _cosine_rows(centroids).T, DECIMALS)  # [n, k]
    index = similarity.argmax(axis=1) if len(similarity) else np.zeros(0)
    best = np.take_along_axis(similarity, index.astype(np.intp)[:, None], axis=1)[:, 0]
    return index.astype(np.int32), best.astype(np.float32)


def assign(centroids: Sequence[Sequence[float]]) -> Any:
    """Spark column function, array<float> -> struct<cluster int, similarity float>; null gives nulls."""
    stored = [list(centroid) for centroid in centroids]

    def nearest(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        return assign_batches(batches, np.asarray(stored, dtype=np.float32))

    make: Any = pandas_udf
    return make(nearest, ASSIGNED)


def assign_batches(batches: Iterator[pd.Series], centroids: np.ndarray) -> Iterator[pd.DataFrame]:
    """What `assign` runs on executors."""
    for batch in batches:
        known = batch.notna().to_numpy()
        frame = pd.DataFrame({"cluster": pd.array([None] * len(batch), "Int32"), "similarity": np.nan})
        frame["similarity"] = frame["similarity"].astype("Float32").mask(~known)
        if known.any():
            index, similarity = nearest_centroid(np.stack(batch[known].tolist()), centroids)
            frame.loc[known, "cluster"] = index
            frame.loc[known, "similarity"] = similarity
        yield frame


def id_order(ids: Sequence[str], vectors: np.ndarray) -> np.ndarray:
    """Row indexes sorted by id; rows that share an id by their values, so input order never matters."""
    keys = [(identity, vectors[row].tobytes()) for row, identity in enumerate(ids)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _cosine_rows(vectors: np.ndarray) -> np.ndarray:
    """float64 rows of length one; zero rows stay zero."""
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0.0, 1.0, norms))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """float32 rows of length one, rounded; no zero keeps a sign."""
    return (np.round(_cosine_rows(vectors), DECIMALS) + 0.0).astype(np.float32)
