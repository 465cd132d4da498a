"""The forest: same bytes for any row order, honest held-out figures, refusal of anything that is no forest."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from udfs.models import forest as forest_module
from udfs.models.errors import TooFewRows, UntrustedModel
from udfs.models.forest import ForestFit, classify_batches, held_out_rows, predict, train_forest, wilson
from udfs.models.stored_forest import dump_forest, load_forest
from udfs.settings import ClassifierSettings

SETTINGS = ClassifierSettings(trees=20, seed=5)


def _labelled(rows: int = 120) -> tuple[list[str], np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    group = rng.integers(0, 3, rows)
    vectors = np.eye(3, 12)[group] * 0.8 + 0.4 * rng.normal(size=(rows, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [f"doc{i}" for i in range(rows)], np.round(vectors, 5).astype(np.float32), [f"type {g}" for g in group]


@pytest.fixture(scope="module")
def fit() -> ForestFit:
    return train_forest(*_labelled(), SETTINGS)


def test_row_order_does_not_change_a_byte(fit: ForestFit) -> None:
    ids, vectors, labels = _labelled()
    order = np.random.default_rng(9).permutation(len(ids))
    again = train_forest([ids[i] for i in order], vectors[order], [labels[i] for i in order], SETTINGS)
    assert again == fit


def test_predictions_survive_the_round_trip(fit: ForestFit) -> None:
    ids, vectors, labels = _labelled()
    train = ~held_out_rows(ids, labels, SETTINGS.held_out, SETTINGS.seed)
    rows = sorted(np.flatnonzero(train), key=lambda row: ids[row])
    plain = RandomForestClassifier(n_estimators=20, max_depth=24, random_state=5)
    plain.fit(np.round(vectors[rows], 5), np.array(labels)[rows])
    found, probability = predict(fit.model, vectors)
    assert (found == plain.predict(vectors)).all()
    assert np.allclose(probability, plain.predict_proba(vectors).max(axis=1), atol=1e-5)


def test_figures_agree_with_counting_by_hand(fit: ForestFit) -> None:
    ids, vectors, labels = _labelled()
    held = [i for i, identity in enumerate(ids) if identity in set(fit.held_out)]
    found, _ = predict(fit.model, vectors[held])
    truth = [labels[i] for i in held]
    assert fit.n_held_out == len(held) and fit.n_train == len(ids) - len(held)
    assert fit.accuracy == sum(a == b for a, b in zip(found, truth, strict=True)) / len(held)
    assert fit.interval_low < fit.accuracy < fit.interval_high or fit.accuracy == 1.0
    trained = [labels[i] for i in range(len(ids)) if i not in held]
    commonest = max(sorted(set(trained)), key=trained.count)
    assert fit.baseline == pytest.approx(truth.count(commonest) / len(held))
    for row in fit.per_class:
        pairs = [(a, b) for a, b in zip(found, truth, strict=True)]
        hits = pairs.count((row["label"], row["label"]))
        assert row["support"] == truth.count(row["label"]) and row["n_train"] == trained.count(row["label"])
        assert row["recall"] == pytest.approx(hits / row["support"])
        assert row["precision"] == pytest.approx(hits / row["predicted"])
    assert fit.classes == ("type 0", "type 1", "type 2")


@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    share=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_the_hold_out_is_stratified_and_ignores_order(labels: list[str], share: float, seed: int) -> None:
    ids = [f"id{i}" for i in range(len(labels))]
    out = held_out_rows(ids, labels, share, seed)
    for label in set(labels):
        rows = [i for i, found in enumerate(labels) if found == label]
        held = int(out[rows].sum())
        assert held == (0 if len(rows) == 1 else min(max(1, round(share * len(rows))), len(rows) - 1))
    backwards = held_out_rows(ids[::-1], labels[::-1], share, seed)
    assert (backwards[::-1] == out).all()


def test_a_class_of_one_trains_and_is_reported_without_figures() -> None:
    ids, vectors, labels = _labelled(40)
    labels[7] = "rare"
    rare = next(row for row in train_forest(ids, vectors, labels, SETTINGS).per_class if row["label"] == "rare")
    assert (rare["n_train"], rare["support"], rare["recall"]) == (1, 0, None)


def test_too_little_to_learn_from_is_a_typed_error() -> None:
    ids, vectors, labels = _labelled(20)
    with pytest.raises(TooFewRows, match="found 9 labelled documents and needs at least 10"):
        train_forest(ids[:9], vectors[:9], labels[:9], SETTINGS)
    with pytest.raises(TooFewRows, match="found 1 classes"):
        train_forest(ids, vectors, ["one"] * 20, SETTINGS)
    with pytest.raises(TooFewRows, match="in the largest class"):
        train_forest(ids, vectors, ids, SETTINGS)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 0, 0.0, 1.0), (90, 100, 0.8256, 0.9448), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_interval_against_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


def test_predicting_nothing_and_predicting_in_parts(fit: ForestFit, monkeypatch: pytest.MonkeyPatch) -> None:
    _, vectors, _ = _labelled()
    whole = predict(fit.model, vectors)
    monkeypatch.setattr(forest_module, "PREDICT_ROWS", 7)
    parts = predict(fit.model, vectors)
    assert (whole[0] == parts[0]).all() and (whole[1] == parts[1]).all()
    assert predict(fit.model, np.zeros((0, 12)))[0].shape == (0,)


def test_a_null_vector_gets_no_label(fit: ForestFit) -> None:
    _, vectors, _ = _labelled()
    (frame,) = classify_batches(iter([pd.Series([vectors[0], None], dtype=object)]), fit.model)
    assert frame["label"].isna().tolist() == frame["probability"].isna().tolist() == [False, True]


def test_the_forest_is_loaded_once_per_process(fit: ForestFit, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[bytes] = []

    def counted(model: bytes) -> Any:
        loads.append(model)
        return load_forest(model)

    monkeypatch.setattr(forest_module, "load_forest", counted)
    monkeypatch.setattr(forest_module, "_forests", {})
    for _ in range(3):
        predict(fit.model, np.zeros((1, 12)))
    assert len(loads) == 1


def _rewritten(model: bytes, change: Any) -> bytes:
    """`model` with `change(schema, arrays)` applied to what is inside."""
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        schema = json.loads(archive.read("schema.json"))
        arrays = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    change(schema, arrays)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in {**arrays, "schema.json": json.dumps(schema).encode()}.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_another_kind_of_model_is_refused() -> None:
    import skops.io

    _, vectors, labels = _labelled(30)
    other = skops.io.dumps(LogisticRegression().fit(vectors, labels))
    with pytest.raises(UntrustedModel, match=r"it holds sklearn\.linear_model"):
        load_forest(other)
    with pytest.raises(UntrustedModel, match="it is a dict, not a forest"):
        load_forest(skops.io.dumps({"trees": 3}))


@pytest.mark.parametrize(
    ("module", "name", "loader"),
    [
        ("os", "system", "FunctionNode"),
        ("builtins", "eval", "TypeNode"),
        ("sklearn.ensemble._forest", "RandomForestClassifier", "FunctionNode"),
        ("functools", "partial", "PartialNode"),
    ],
)
def test_a_foreign_type_is_refused_before_it_is_imported(fit: ForestFit, module: str, name: str, loader: str) -> None:
    def plant(schema: dict[str, Any], _: Any) -> None:
        schema["content"]["content"]["n_jobs"] = {
            "__class__": name, "__module__": module, "__loader__": loader, "__id__": 10**6, "content": "1"
        }  # fmt: skip

    with pytest.raises(UntrustedModel, match=rf"it holds {module}\.{name}"):
        load_forest(_rewritten(fit.model, plant))


def test_a_tree_that_points_outside_itself_is_refused(fit: ForestFit) -> None:
    def derail(field: str, value: int) -> Any:
        def change(_: Any, arrays: dict[str, bytes]) -> None:
            for name, content in arrays.items():
                nodes = np.load(io.BytesIO(content), allow_pickle=False)
                if nodes.dtype.names and field in nodes.dtype.names:
                    nodes[field][0] = value
                    out = io.BytesIO()
                    np.save(out, nodes)
                    arrays[name] = out.getvalue()

        return change

    for field, value in [("left_child", 10**6), ("right_child", -5), ("left_child", 0), ("feature", 12)]:
        with pytest.raises(UntrustedModel, match="point outside"):
            load_forest(_rewritten(fit.model, derail(field, value)))


def test_bytes_that_are_no_archive_are_refused(fit: ForestFit) -> None:
    for junk in (b"", b"PK\x03\x04", b"\x80\x04\x95pickle", fit.model[: len(fit.model) // 2]):
        with pytest.raises(UntrustedModel, match="no readable skops archive"):
            load_forest(junk)


def test_dumping_twice_gives_the_same_bytes(fit: ForestFit) -> None:
    forest = load_forest(fit.model)
    assert dump_forest(forest) == fit.model == dump_forest(load_forest(dump_forest(forest)))
    assert forest.n_jobs == 1
