"""Makes a document-type classifier: a random forest on document vectors, its held-out figures, predictions.

It refuses to know who labelled the documents and whether the figures are good enough to go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql.pandas.functions import pandas_udf

from udfs.models.clusters import id_order
from udfs.models.errors import TooFewRows
from udfs.models.stored_forest import dump_forest, load_forest
from udfs.settings import ClassifierSettings

DECIMALS = 5
MIN_ROWS = 10  # with fewer labelled documents a held-out figure says nothing at all
MORE = "add documents"
SPENT = ", and raise classifier.labels where as many are labelled already"
PREDICT_ROWS = 8_192  # bounds the memory of one call: trees are walked for this many rows at a time
CLASSIFIED = "label string, probability float"


@dataclass(frozen=True)
class ForestFit:
    """A trained forest with its figures on rows it has not seen.

    `model` is skops bytes, equal for equal training data. `interval_low` and `interval_high` are Wilson's
    95 % bounds of `accuracy`; `baseline` is the accuracy of always naming the commonest training class.
    `per_class` holds {label, n_train, support, predicted, precision, recall} in label order, precision and
    recall None where nothing was predicted or held out. `held_out` lists the held-out ids, sorted.
    """

    model: bytes
    classes: tuple[str, ...]
    n_train: int
    n_held_out: int
    accuracy: float
    interval_low: float
    interval_high: float
    baseline: float
    per_class: list[dict[str, Any]]
    held_out: tuple[str, ...]


def train_forest(
    ids: Sequence[str], vectors: np.ndarray, labels: Sequence[str], settings: ClassifierSettings, least_classes: int = 2
) -> ForestFit:
    """Train on id-ordered rows (vectors [n, d]), hold a seeded share of every class out, and measure.

    The stored forest is the one that was measured: held-out rows are not trained on afterwards.
    Raises TooFewRows for fewer than MIN_ROWS rows, fewer than `least_classes`, or no class with two rows.
    """
    from sklearn.ensemble import RandomForestClassifier

    features = np.round(np.asarray(vectors, dtype=np.float32), DECIMALS)
    names = np.asarray(labels, dtype=str)
    if len(names) < MIN_ROWS:
        raise TooFewRows(len(names), MIN_ROWS, "labelled documents", MORE + SPENT)
    if len(set(labels)) < least_classes:
        what = "classes among the labelled documents"
        raise TooFewRows(len(set(labels)), least_classes, what, f"{MORE} of other types{SPENT}")
    out = held_out_rows(ids, labels, settings.held_out, settings.seed)
    if not out.any():
        raise TooFewRows(1, 2, "labelled documents in the largest class", MORE)
    order = id_order(ids, features)
    train, test = order[~out[order]], order[out[order]]
    forest = RandomForestClassifier(
        n_estimators=settings.trees, max_depth=settings.max_depth, random_state=settings.seed, n_jobs=-1
    ).fit(features[train], names[train])  # trees are seeded one by one: n_jobs changes nothing but time
    forest.n_jobs = 1  # what is stored runs inside Spark tasks
    model = dump_forest(forest)
    predicted, _ = predict(model, features[test])
    return _measured(model, ids, names, predicted, train, test)


def held_out_rows(ids: Sequence[str], labels: Sequence[str], share: float, seed: int) -> np.ndarray:
    """bool [n]: rows kept from training, by a hash of seed and id within each class, whatever the order.

    A class gives round(share * rows), at least one and never its last: a class of one row trains.
    """
    members: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    chosen = np.zeros(len(ids), dtype=bool)
    for rows in members.values():
        rows.sort(key=lambda row: (hashlib.sha256(f"{seed}:{ids[row]}".encode()).digest(), ids[row]))
        wanted = min(max(1, round(share * len(rows))), len(rows) - 1)
        chosen[rows[:wanted]] = True
    return chosen


def predict(model: bytes, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label (str [n]) and its probability (float32 [n], 5 decimals) for vectors [n, d]; ties to the first
    class. The forest in `model` is loaded once per process. Raises UntrustedModel."""
    forest = _cached_forest(model)
    features = np.round(np.asarray(vectors, dtype=np.float32), DECIMALS)
    labels, shares = [np.zeros(0, dtype=forest.classes_.dtype)], [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(features), PREDICT_ROWS):
        spread = np.round(forest.predict_proba(features[start : start + PREDICT_ROWS]), DECIMALS)  # [b, classes]
        best = spread.argmax(axis=1)
        labels.append(forest.classes_[best])
        shares.append(spread[np.arange(len(best)), best].astype(np.float32))
    return np.concatenate(labels), np.concatenate(shares)


def classify(model: bytes) -> Any:
    """Spark column function, array<float> -> struct<label string, probability float>; null gives nulls."""

    def classified(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        return classify_batches(batches, model)

    make: Any = pandas_udf
    return make(classified, CLASSIFIED)


def classify_batches(batches: Iterator[pd.Series], model: bytes) -> Iterator[pd.DataFrame]:
    """What `classify` runs: not inside it, so that workers import this module and keep the forest."""
    for batch in batches:
        known = batch.notna().to_numpy()
        frame = pd.DataFrame(
            {
                "label": pd.array([None] * len(batch), "string"),
                "probability": pd.array([None] * len(batch), "Float32"),
            }
        )
        if known.any():
            labels, probabilities = predict(model, np.stack(batch[known].tolist()))
            frame.loc[known, "label"] = labels
            frame.loc[known, "probability"] = probabilities
        yield frame


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (Wilson, 1927); (0, 1) when nothing was seen."""
    if n == 0:
        return 0.0, 1.0
    z = 1.959964
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return round(max(0.0, centre - half), 6), round(min(1.0, centre + half), 6)


def _measured(
    model: bytes,
    ids: Sequence[str],
    names: np.ndarray,
    predicted: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> ForestFit:
    """The figures of predictions for the rows `test`, against the labels `names` of all rows."""
    classes, counts = np.unique(names[train], return_counts=True)
    right = int((predicted == names[test]).sum())
    low, high = wilson(right, len(test))
    return ForestFit(
        model=model,
        classes=tuple(classes.tolist()),
        n_train=len(train),
        n_held_out=len(test),
        accuracy=right / len(test),
        interval_low=low,
        interval_high=high,
        baseline=float((names[test] == classes[counts.argmax()]).mean()),
        per_class=[
            _class_figures(label, int(count), names[test], predicted)
            for label, count in zip(classes.tolist(), counts, strict=True)
        ],
        held_out=tuple(sorted(ids[row] for row in test)),
    )


def _class_figures(label: str, n_train: int, truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    hits = int(((truth == label) & (predicted == label)).sum())
    support, named = int((truth == label).sum()), int((predicted == label).sum())
    return {
        "label": label,
        "n_train": n_train,
        "support": support,
        "predicted": named,
        "precision": hits / named if named else None,
        "recall": hits / support if support else None,
    }


_forests: dict[str, Any] = {}


def _cached_forest(model: bytes) -> Any:
    """The one forest this process keeps: a stage classifies with one version at a time."""
    digest = hashlib.sha256(model).hexdigest()
    if digest not in _forests:
        forest = load_forest(model)
        _forests.clear()
        _forests[digest] = forest
    return _forests[digest]
