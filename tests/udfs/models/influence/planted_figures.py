"""Makes measured rows of planted samples, and figures of how well a scorer tells far from near."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from tests.sql.score_oracle import NORMS, expected
from tests.udfs.models.influence.planted import Field, Planted, unseen_words
from udfs.models.influence.measure import Scorer
from udfs.models.influence.pair import make_scorer
from udfs.models.influence.recipe import text_encoder
from udfs.models.influence.support import pair_files
from udfs.models.influence.training.corpus import HELD_OUT, texts
from udfs.models.loading import LOCAL
from udfs.settings import InfluenceSettings

Row = dict[str, Any]
ALPHAS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)


@cache
def field(settings: InfluenceSettings) -> Field:
    """Held-out text under the tokenizer of a pair."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pair_files(settings)[1].folder, **LOCAL)
    text = "\n\n".join(each.text for each in texts(HELD_OUT))
    return Field(text, unseen_words(text), text_encoder(tokenizer), tokenizer.decode)


def scorer(settings: InfluenceSettings) -> Scorer:
    return make_scorer(settings, torch.device("cpu"))


def measured(by: Scorer, samples: Iterable[Planted]) -> list[Row]:
    """Measurements of planted samples, with what is known of them. Every one must be measured whole."""
    rows = []
    for planted in samples:
        found = by.measure(planted.sample)
        assert found.reason is None and found.dropped_tokens == 0 and found.context_tokens == planted.tokens, planted.id
        known = {
            "id": planted.id,
            "kind": planted.kind,
            "reworded": planted.reworded,
            "distance": planted.distance,
            "planted": sorted(planted.segments(by.segment_tokens)),
        }
        rows.append({**known, **asdict(found)})
    return rows


def auc(values: Sequence[float], is_far: Sequence[bool]) -> float:
    """Chance that a far sample has more than another; ties count half. Never turned round."""
    ranks = stats.rankdata(values)
    far = np.array(is_far)
    n = int(far.sum())
    return float((ranks[far].sum() - n * (n + 1) / 2) / (n * (len(far) - n)))


def gap(row: Row) -> float:
    """What the long context helps B more than A: nats a token."""
    return float(row["short_log_ppl"] - row["long_log_ppl"])


def gap_auc(rows: Sequence[Row], far: Callable[[Row], bool], other: Callable[[Row], bool] | None = None) -> float:
    """AUC of the gap of some of the far samples against some of the others."""
    chosen = [row for row in rows if (far(row) if row["kind"] == "far" else other is None or other(row))]
    return auc([gap(row) for row in chosen], [row["kind"] == "far" for row in chosen])


def first_share(rows: Sequence[Row], value: Callable[[Row], Sequence[float]]) -> float:
    """Share of far samples whose highest segment by `value` holds a part of the fact."""
    far = [row for row in rows if row["kind"] == "far"]
    return float(np.mean([int(np.argmax(value(row))) in row["planted"] for row in far]))


def explained(row: Row) -> list[float]:
    """How well each segment alone explains the answer."""
    return [-value for value in row["segment_log_ppl"]]


def attended(row: Row, layer: int | None = None) -> list[float]:
    """Attention for each token of a segment: the mean of all layers, or one layer's."""
    masses = row["segment_attention"] if layer is None else row["layer_attention"][layer]
    return [mass / tokens for mass, tokens in zip(masses, row["segment_tokens"], strict=True)]


def terms(rows: list[Row], alpha: float = 0.7, seed: int = 0) -> dict[str, list[float]]:
    """Every scorer's value for each row of one pool: the terms of every norm, and the scorers to compare with."""
    found: dict[str, list[float]] = {}
    for norm in NORMS:
        scored = expected(rows, norm, alpha)
        for term in ("score", "hmp", "cas"):
            found[f"{norm} {term}"] = [scored[row["id"]][term] for row in rows]
    found["one-model gap"] = [row["windowed_log_ppl"] - row["long_log_ppl"] for row in rows]
    found["IFD"] = [float(np.exp(row["long_log_ppl"] - row["unasked_log_ppl"])) for row in rows]
    found["perplexity"] = [row["long_log_ppl"] for row in rows]
    found["random"] = np.random.default_rng(seed).random(len(rows)).tolist()
    found["length"] = [float(row["context_tokens"]) for row in rows]
    return found


def precision(values: Sequence[float], is_far: Sequence[bool], share: float = 0.1) -> float:
    """Share of far samples among the highest `share` of all."""
    top = np.argsort(-np.array(values), kind="stable")[: max(1, round(share * len(values)))]
    return float(np.array(is_far)[top].mean())


def folders(settings: InfluenceSettings) -> list[Path]:
    """What measured rows depend on, beside this code: the weights."""
    return [files.folder for files in pair_files(settings)]
