"""The document classifier: a random forest over document vectors, measured on held-out documents (WildLong, 3.3)."""

from __future__ import annotations

import hashlib

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.stage import Fitted, stage
from sql import row_id
from udfs.models.forest import train_forest
from udfs.models.vectors import matrix
from udfs.settings import ClassifierSettings


@stage(fits="document_labels", revision=2)
def classifier(
    document_labels: DataFrame,
    document_features: DataFrame,
    document_types: Fitted,
    *,
    classifier: ClassifierSettings,
) -> DataFrame:
    """One row: the forest in skops form and its figures. Raises TooFewRows for too few documents or labels."""
    vectors = document_features.select("document", "vector")
    joined = document_labels.select("document", "label", "teacher").join(vectors, "document")
    rows = joined.toArrow().sort_by("document")  # rows of Python numbers would take ten times the memory
    fit = train_forest(
        rows["document"].to_pylist(),
        matrix(rows["vector"]),
        rows["label"].to_pylist(),
        classifier,
        least_classes=min(2, len(document_types)),  # of one type there is nothing to tell apart
    )
    version = hashlib.sha256(fit.model).hexdigest()[:16]
    table = [(r["label"], r["precision"], r["recall"], int(r["support"])) for r in fit.per_class]
    figures = (fit.n_train, fit.n_held_out, fit.accuracy, fit.interval_low, fit.interval_high, fit.baseline)
    teacher = rows["teacher"][0].as_py()
    values = (
        version,
        bytearray(fit.model),
        list(fit.classes),
        *figures,
        classifier.floor,
        classifier.floor_rows,
        table,
    )
    frame = document_labels.sparkSession.createDataFrame(
        [(*values, teacher)],
        "version string, model binary, classes array<string>, n_train bigint, n_held_out bigint, accuracy double, "
        "interval_low double, interval_high double, baseline double, floor double, floor_rows bigint, "
        "per_class array<struct<label: string, precision: double, recall: double, support: bigint>>, teacher string",
    )
    return frame.withColumns(
        {
            "id": row_id("classifier", "version"),
            "parent_ids": F.array().cast("array<string>"),
            "reject_reason": F.lit(None).cast("string"),
        }
    )
