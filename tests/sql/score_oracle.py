"""Scores of measured samples in plain Python: what the SQL of influence_scores must give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from scipy import stats

NORMS = ("paper", "reference", "zscore", "rank")
Row = dict[str, Any]


def softmax(values: Sequence[float]) -> list[float]:
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / sum(weights) for weight in weights]


def minmax(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]


def zscore(values: Sequence[float]) -> list[float]:
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / spread if spread else 0.0 for value in values]


def percentiles(values: Sequence[float], ids: Sequence[str]) -> list[float]:
    order = sorted(range(len(values)), key=lambda at: (values[at], ids[at]))
    return [(order.index(at) + 0.5) / len(values) for at in range(len(values))]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    return 0.0 if len(set(one)) < 2 or len(set(other)) < 2 else float(stats.pearsonr(one, other)[0])


def agreement(row: Row, norm: str) -> float:
    attention = [mass / n for mass, n in zip(row["segment_attention"], row["segment_tokens"], strict=True)]
    logs = row["segment_log_ppl"]
    if norm == "rank":
        return correlation(stats.rankdata(logs), stats.rankdata(attention))
    if norm == "zscore":
        return correlation(logs, attention)
    return cosine(softmax([math.exp(value) for value in logs]), softmax(attention))


def compared(row: Row) -> Row:
    """What scores are compared with (all log-perplexities in nats a token): the same under every norm."""
    return {
        "window_gap": row["windowed_log_ppl"] - row["long_log_ppl"],
        "ifd": math.exp(row["long_log_ppl"]) / math.exp(row["unasked_log_ppl"]),  # arXiv 2308.12032, Eq. 4
        "perplexity": row["long_log_ppl"],
        "length": float(row["context_tokens"]),
    }


def expected(rows: list[Row], norm: str, alpha: float) -> dict[str, Row]:
    """id → hmp, cas, score, position and the scorers it is compared with, of one pool."""
    ids = [row["id"] for row in rows]
    a, b = ([math.exp(row[key]) for row in rows] for key in ("short_log_ppl", "long_log_ppl"))
    scale: Callable[[Sequence[float]], list[float]] = {"paper": softmax, "reference": minmax}.get(
        norm, lambda values: [math.log(value) for value in values]
    )
    hmp = [one - other for one, other in zip(scale(a), scale(b), strict=True)]
    cas = [agreement(row, norm) for row in rows]
    parts = {
        "paper": lambda: (softmax(hmp), softmax(cas)),
        "reference": lambda: (softmax(hmp), cas),
        "zscore": lambda: (zscore(hmp), zscore(cas)),
        "rank": lambda: (percentiles(hmp, ids), percentiles([round(c, 9) for c in cas], ids)),
    }[norm]()
    score = [alpha * one + (1 - alpha) * other for one, other in zip(*parts, strict=True)]
    others = [compared(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda at: (-round(score[at], 12), ids[at]))
    return {
        ids[at]: {"hmp": hmp[at], "cas": cas[at], "score": score[at], "position": place + 1, **others[at]}
        for place, at in enumerate(order)
    }
