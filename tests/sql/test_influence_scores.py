"""Scores in SQL against plain Python, for every norm; what the printed formulas do is shown, not hidden."""

from __future__ import annotations

import random

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import stats

import sql
from sql.questions import questions
from tests.sql.score_oracle import NORMS, Row, expected

SCHEMA = (
    "id string, reject_reason string, document_type string, context_tokens bigint, short_log_ppl double, "
    "long_log_ppl double, windowed_log_ppl double, unasked_log_ppl double, segment_tokens array<bigint>, "
    "segment_log_ppl array<double>, segment_attention array<double>"
)


def measured(n: int, seed: int = 0) -> list[Row]:
    """Made-up measurements: contexts of 1 to 40 segments, attention that falls with length, a few ties."""
    draw = random.Random(seed)
    rows = []
    for at in range(n):
        count = draw.choice([1, 2, 8, 20, 40])
        logs = [draw.gauss(2.0, 0.5) for _ in range(count)]
        masses = [draw.random() / count for _ in range(count)]
        if at % 5 == 0:
            logs = [2.0] * count
        rows.append(
            {
                "id": f"s{at:03d}",
                "reject_reason": None,
                "document_type": draw.choice(["report", "novel"]),
                "context_tokens": count * 128 - 5,
                "short_log_ppl": draw.gauss(2.5, 0.6),
                "long_log_ppl": draw.gauss(2.0, 0.6),
                "windowed_log_ppl": draw.gauss(2.3, 0.6),
                "unasked_log_ppl": draw.gauss(3.0, 0.6),
                "segment_tokens": [128] * (count - 1) + [123],
                "segment_log_ppl": logs,
                "segment_attention": masses,
            }
        )
    return rows


def scores(
    spark: SparkSession, rows: list[Row], norm: str, per_type: bool = False, alpha: float = 0.7, seed: int = 3
) -> DataFrame:
    frame = spark.createDataFrame([tuple(row.values()) for row in rows], schema(rows))
    chosen = {"norm": norm, "alpha": alpha, "per_type": per_type, "seed": seed}
    return sql.run("influence_scores", chosen, influence=frame)


def schema(rows: list[Row]) -> str:
    types = dict(part.strip().split(" ") for part in SCHEMA.split(","))
    return ", ".join(f"{name} {types[name]}" for name in rows[0])


@pytest.mark.spark
@pytest.mark.parametrize("norm", NORMS)
def test_scores_equal_plain_python(spark: SparkSession, norm: str) -> None:
    rows = measured(40)
    failed = {**rows[0], "id": "bad", "reject_reason": "empty_context", "short_log_ppl": None, "segment_log_ppl": []}
    for per_type in (False, True):
        found = {row["id"]: row for row in scores(spark, [*rows, failed], norm, per_type).collect()}
        pools = [[r for r in rows if r["document_type"] == t] for t in ("report", "novel")] if per_type else [rows]
        wanted = {key: value for pool in pools for key, value in expected(pool, norm, 0.7).items()}
        assert found.keys() == wanted.keys()
        for key, values in wanted.items():
            assert found[key]["position"] == values["position"], key
            for name in values.keys() - {"position"}:
                assert found[key][name] == pytest.approx(values[name], rel=1e-7, abs=1e-8), (key, name)


@pytest.mark.spark
def test_the_random_scorer_is_a_draw_by_id_and_seed(spark: SparkSession) -> None:
    rows = measured(200)
    one, again, other = (
        {row["id"]: row["random"] for row in scores(spark, given, "rank", seed=seed).collect()}
        for given, seed in ((rows, 3), (rows[::-1], 3), (rows, 4))
    )
    assert one == again, "the order of rows counts for nothing"
    assert len({*one.values(), *other.values()}) == 400, "another seed, another draw"
    assert abs(stats.spearmanr([one[key] for key in one], [other[key] for key in one])[0]) < 0.25
    assert stats.kstest(list(one.values()), "uniform").pvalue > 0.01


@pytest.mark.spark
def test_agreement_of_scorers_equals_scipy_and_shows_a_degenerate_norm(spark: SparkSession) -> None:
    own = spark.newSession()  # for its views
    rows = measured(60, seed=4)
    raw = own.createDataFrame([tuple(row.values()) for row in rows], schema(rows))
    raw.withColumnRenamed("id", "sample").createOrReplaceTempView("influence")
    found = {}
    for norm in ("paper", "rank"):
        table = scores(own, rows, norm).persist()
        values = table.toPandas()
        table.select(F.col("id").alias("sample"), "score", "hmp", "cas").createOrReplaceTempView("training_set")
        pairs = own.sql(questions()["influence_scorers"].bound({"share": 0.1, "seed": 3})).collect()
        found[norm] = {(row["one"], row["other"]): row for row in pairs}
        assert len(found[norm]) == 28
        for (one, other), row in found[norm].items():
            assert row["rank_correlation"] == pytest.approx(stats.spearmanr(values[one], values[other])[0], abs=1e-9)
            tops = [set(values.sort_values([t, "id"], ascending=[False, True])["id"][:6]) for t in (one, other)]
            assert row["top_overlap"] == pytest.approx(len(tops[0] & tops[1]) / 6)
    paper, rank = ({pair: row["rank_correlation"] for pair, row in found[norm].items()} for norm in ("paper", "rank"))
    assert paper["cas", "score"] > 0.9 and paper["hmp", "score"] < 0.35  # CAS alone decides
    assert paper["cas", "length"] < -0.6  # and CAS falls with the length
    assert rank["hmp", "score"] > 0.7 and abs(rank["cas", "length"]) < 0.3
