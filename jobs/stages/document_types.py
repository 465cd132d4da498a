"""The k document types: K-Means over embedded free-form types, each cluster named by the teacher.

Fitted once on the driver with scikit-learn, because Spark ML's K-Means changes with the partitioning.
"""

from __future__ import annotations

import json

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.stage import Teach, stage
from sql import row_id
from udfs.llm.parse import parse_reply
from udfs.models.clusters import Clusters, fit_clusters
from udfs.models.embedder import embed, embedder_identity
from udfs.models.errors import TooFewRows
from udfs.models.vectors import matrix
from udfs.settings import EmbedderSettings, TypeSettings


@stage(fits="meta_records", revision=2)
def document_types(
    meta_records: DataFrame, *, types: TypeSettings, embedder: EmbedderSettings, teach: Teach, epoch: int
) -> DataFrame:
    """One row per type, largest first. Raises TooFewRows for fewer conversations or distinct types than k."""
    free_form = meta_records.select("id", F.trim(F.lower(F.col("document_type")[0])).alias("text"))
    sample = free_form.orderBy(F.sha2(F.concat_ws(":", F.lit(types.seed), "id"), 256)).limit(types.max_fit_rows)
    found = sample.count()
    if found < types.k:
        raise TooFewRows(found, types.k, "long conversations", "add conversations, or ask for less with types.k")
    rows = sample.withColumn("vector", embed(embedder, False)("text")).toArrow().sort_by("id")
    texts = rows["text"].to_pylist()
    vectors = matrix(rows["vector"])
    clusters = fit_clusters(rows["id"].to_pylist(), vectors, types.k, types.seed)
    examples = [_examples(clusters, vectors, texts, i, types) for i in range(types.k)]
    named = _names(meta_records, examples, teach)
    identity = embedder_identity(embedder)
    total = len(texts)
    fitted = []
    for index, (label, teacher, model) in enumerate(named):
        size = int((np.asarray(clusters.labels) == index).sum())
        centroid = [float(x) for x in clusters.centroids[index]]
        values = (epoch + 1, index, label, centroid, size, size / total, examples[index], identity, teacher, model)
        fitted.append(values)
    frame = meta_records.sparkSession.createDataFrame(
        fitted,
        "version int, type_index int, label string, centroid array<float>, size bigint, share double, "
        "examples array<string>, embedder string, teacher string, model string",
    )
    return frame.withColumns(
        {
            "id": row_id("document_types", "type_index", "label"),
            "parent_ids": F.array().cast("array<string>"),
            "reject_reason": F.lit(None).cast("string"),
        }
    )


def _examples(clusters: Clusters, vectors: np.ndarray, texts: list[str], index: int, types: TypeSettings) -> list[str]:
    """Distinct free-form types of a cluster, nearest to the centroid first."""
    similarity = vectors @ np.asarray(clusters.centroids[index], dtype=np.float32)
    members = [i for i, label in enumerate(clusters.labels) if label == index]
    nearest = sorted(members, key=lambda i: (-round(float(similarity[i]), 5), texts[i]))
    return list(dict.fromkeys(texts[i] for i in nearest))[: types.examples_per_cluster]


def _names(meta_records: DataFrame, examples: list[list[str]], teach: Teach) -> list[tuple[str, str, str]]:
    """(label, teacher, model) per cluster; a label already taken is asked for again, then numbered."""
    named: dict[int, tuple[str, str, str]] = {}
    for _ in range(3):
        taken = [label for label, _, _ in named.values()]
        open_clusters = [i for i in range(len(examples)) if i not in named]
        if not open_clusters:
            break
        asked = [(str(i), None, json.dumps({"examples": examples[i], "taken": taken})) for i in open_clusters]
        columns = "input_id string, document string, variables string"
        replies = teach("type_label", meta_records.sparkSession.createDataFrame(asked, columns)).collect()
        for row in sorted(replies, key=lambda row: int(row["input_id"])):
            value = parse_reply(row["text"], "type_label").value if row["text"] else None
            label = " ".join(str(getattr(value, "label", "")).split()).lower()
            used = {other for other, _, _ in named.values()}
            if label and label not in used:
                named[int(row["input_id"])] = (label, row["teacher"], row["model"])
    used = {label for label, _, _ in named.values()}
    for i in range(len(examples)):
        if i not in named:
            base = examples[i][0] if examples[i] else "other"
            label = next(name for name in (base, *(f"{base} {n}" for n in range(2, 1000))) if name not in used)
            used.add(label)
            named[i] = (label, "", "")
    return [named[i] for i in range(len(examples))]
