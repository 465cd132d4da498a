"""The Spark columns: the same values on executors as in this process, nulls where there is nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from udfs.models.clusters import assign, nearest_centroid
from udfs.models.embedder import embed, embed_texts
from udfs.models.forest import classify, predict, train_forest
from udfs.settings import ClassifierSettings, EmbedderSettings

pytestmark = pytest.mark.spark


def test_vectors_clusters_and_classes_on_executors(
    spark: SparkSession, tiny_settings: Callable[..., EmbedderSettings]
) -> None:
    texts = [f"w{i % 50} w{i * 7 % 50} w{i % 3}" * (1 + i % 4) for i in range(40)]
    rows: list[tuple[int, str | None]] = [*enumerate(texts), (40, None)]
    settings = tiny_settings()
    expected = embed_texts([text for _, text in rows], settings, True)
    model = train_forest(
        [str(i) for i in range(40)], expected[:40], ["odd" if i % 2 else "even" for i in range(40)],
        ClassifierSettings(trees=5),
    ).model  # fmt: skip
    centroids = expected[:3]
    frame = (
        spark.createDataFrame(rows, "row int, text string")
        .coalesce(1)  # one worker per column: each pays for importing torch or scikit-learn
        .withColumn("vector", embed(settings, documents=True)("text"))
        .withColumn("nearest", assign(centroids.tolist())("vector"))
        .withColumn("kind", classify(model)(F.when(F.col("text").isNotNull(), F.col("vector"))))
    )
    found = sorted(frame.collect(), key=lambda row: row["row"])
    index, similarity = nearest_centroid(expected, centroids)
    labels, probability = predict(model, expected)
    assert (np.array([row["vector"] for row in found], np.float32) == expected).all()
    assert [row["nearest"]["cluster"] for row in found] == index.tolist()
    assert np.allclose([row["nearest"]["similarity"] for row in found], similarity)
    assert [row["kind"]["label"] for row in found] == [*labels[:40].tolist(), None]
    assert np.allclose([row["kind"]["probability"] for row in found[:40]], probability[:40])
    assert frame.schema["vector"].simpleString() == "vector:array<float>"


def test_the_model_is_not_run_again_for_every_use_of_a_column(
    spark: SparkSession, tiny_settings: Callable[..., EmbedderSettings]
) -> None:
    frame = spark.createDataFrame([("w1",)], "text string").withColumn("vector", embed(tiny_settings())("text"))
    plan = frame.where(F.size("vector") > 3).select("vector", F.size("vector"))._jdf.queryExecution().toString()
    physical = plan.split("== Physical Plan ==")[1]
    assert physical.count("ArrowEvalPython") == 1
