"""The selection against a plain Python one: mix, limits, reasons, ranks; and the set without any scores."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import sql
from jobs.runtime.settings import SelectionSettings, TargetSettings
from jobs.stages.training_set import training_set

pytestmark = pytest.mark.spark
Row = dict[str, Any]
EVERYTHING = TargetSettings(single=1_000, multi=1_000)


def frame(spark: SparkSession, table: str, rows: list[Row]) -> DataFrame:
    """Rows of a stored table, absent columns null."""
    schema = sql.columns(table)
    return spark.createDataFrame([tuple(row.get(name) for name in schema.names) for row in rows], schema)


def sample(name: str, kind: str | None, index: int, tokens: int = 15, **more: Any) -> Row:
    lengths = {"context": tokens - 5, "instruction": 2, "response": 3}
    row = {"id": name, "setting": "single", "paradigm": "wildlong", "document_type": kind, "walk_index": index}
    return {**row, "lengths": lengths, "documents": [], **more}


def measured(name: str, kind: str | None, gap: float, reason: str | None = None) -> Row:
    row = {"id": f"i-{name}", "sample": name, "document_type": kind, "reject_reason": reason, "truncated": gap > 1}
    if reason is not None:
        return row
    logs = {"short_log_ppl": 2.0 + gap, "long_log_ppl": 2.0, "windowed_log_ppl": 2.0, "unasked_log_ppl": 3.0}
    segments = {"segment_tokens": [128, 64], "segment_log_ppl": [2.0, 2.5], "segment_attention": [0.4, 0.1]}
    return {**row, **logs, **segments, "context_tokens": 192}


def run(
    spark: SparkSession, samples: list[Row], rows: list[Row], targets: TargetSettings, **more: Any
) -> dict[str, Row]:
    made = training_set.function(
        frame(spark, "samples", samples),
        frame(spark, "influence", rows),
        targets=targets,
        selection=SelectionSettings(**more),
    )
    return {row["sample"]: row.asDict() for row in made.finish(made.base.localCheckpoint()).collect()}


def taken(rows: dict[str, Row]) -> set[str]:
    return {name for name, row in rows.items() if row["reject_reason"] is None}


def test_without_scores_the_targets_keep_the_mix_and_name_the_rest(spark: SparkSession) -> None:
    samples = [sample(f"{kind}{n}", kind, n) for kind, count in (("law", 2), ("news", 6)) for n in range(count)]
    samples.append(sample("bad", "law", 9, reject_reason="ungrounded"))
    rows = run(spark, samples, [], TargetSettings(single=4, multi=0))
    assert taken(rows) == {"law0", "news0", "news1", "news2"}, "a quarter law, three quarters news"
    assert {row["reject_reason"] for name, row in rows.items() if name not in taken(rows)} == {"over_target"}
    assert {row["n_tokens"] for row in rows.values()} == {15} and "bad" not in rows
    assert {row["rank"] for row in rows.values()} == {row["score"] for row in rows.values()} == {None}
    assert rows["law0"]["selected_because"].endswith("of 4 candidates in their mix of types")
    half = run(spark, samples, [], TargetSettings(single=4, multi=0), top_share=0.5)
    assert taken(half) == {"law0", "news0"} or taken(half) == {"news0", "news1"}
    assert Counter(row["reject_reason"] for row in half.values())["not_selected:top_share"] == 2


def oracle(samples: list[Row], gaps: dict[str, float], choice: SelectionSettings) -> tuple[dict[str, int], set[str]]:
    """(rank, taken) by hand; CAS is the same for all, so that its percentiles go by id."""
    n = len(gaps)
    by_id = {name: (at + 0.5) / n for at, name in enumerate(sorted(gaps))}
    by_gap = {name: (at + 0.5) / n for at, name in enumerate(sorted(gaps, key=lambda name: (gaps[name], name)))}
    score = {name: choice.alpha * by_gap[name] + (1 - choice.alpha) * by_id[name] for name in gaps}
    best = sorted(gaps, key=lambda name: (-round(score[name], 12), name))
    rank = {name: at + 1 for at, name in enumerate(best)}
    kinds: dict[str, list[str]] = defaultdict(list)
    kind = {row["id"]: row["document_type"] for row in samples}
    for name in best:
        kinds[kind[name]].append(name)
    share = {name: (at + 0.5) / len(names) for names in kinds.values() for at, name in enumerate(names)}
    left = [name for name in best if choice.min_score is None or score[name] >= choice.min_score]
    if choice.keep_mix:
        left.sort(key=lambda name: (share[name], rank[name]))
    left = left[: min(math.ceil(round(choice.top_share * n, 9)), choice.top_count or n)]
    tokens = {row["id"]: sum(row["lengths"].values()) for row in samples}
    chosen, spent = set(), 0
    for name in left:
        spent += tokens[name]
        if spent <= (choice.token_budget or math.inf):
            chosen.add(name)
    return rank, chosen


@pytest.mark.parametrize(
    "choice",
    [
        {"top_share": 0.3},
        {"token_budget": 300, "top_share": 0.9, "keep_mix": False, "alpha": 1.0},
        {"top_count": 7, "min_score": 0.6},
    ],
)
def test_selection_equals_plain_python(spark: SparkSession, choice: dict[str, Any]) -> None:
    draw = random.Random(5)
    samples = [
        sample(f"s{n:02d}", draw.choice(["law", "news", "news", "novel"]), n, draw.randrange(10, 60)) for n in range(30)
    ]
    gaps = {row["id"]: draw.gauss(0, 1) for row in samples}
    rows = [measured(row["id"], row["document_type"], gaps[row["id"]]) for row in samples]
    failed = [sample("t0", "law", 40), sample("t1", "law", 41)]
    rows.append(measured("t0", "law", 0, reason="no_room_for_context"))
    found = run(spark, [*samples, *failed], rows, EVERYTHING, by="influence", **choice)
    rank, chosen = oracle(samples, gaps, SelectionSettings(by="influence", **choice))
    assert {name: row["rank"] for name, row in found.items() if row["rank"]} == rank
    assert taken(found) == chosen and 0 < len(chosen) < 30
    assert found["t0"]["reject_reason"] == "not_measured:no_room_for_context"
    assert found["t1"]["reject_reason"] == "not_measured", "nobody has come to it yet"
    out = {row["reject_reason"] for name, row in found.items() if name in gaps and name not in chosen}
    assert out <= {f"not_selected:{name}" for name in choice}
    assert all(bool(row["selected_because"]) == (name in chosen) for name, row in found.items())
    assert found["s00"]["parent_ids"] == ["s00", "i-s00"] and found["t1"]["parent_ids"] == ["t1"]
    assert all(row["truncated"] == (gaps[name] > 1) for name, row in found.items() if name in gaps)
    if choice.get("keep_mix", True) and set(choice) == {"top_share"}:
        held = Counter(row["document_type"] for row in samples)
        got = Counter(found[name]["document_type"] for name in chosen)
        assert all(abs(got[kind] - count * len(chosen) / 30) <= 1 for kind, count in held.items())


def test_what_is_over_target_has_no_part_in_ranks_and_shares(spark: SparkSession) -> None:
    samples = [sample(f"s{n}", "law", n) for n in range(6)]
    rows = [measured(f"s{n}", "law", float(n)) for n in range(6)]
    found = run(spark, samples, rows, TargetSettings(single=4, multi=0), by="influence", top_share=0.5, alpha=1.0)
    assert taken(found) == {"s3", "s2"}
    assert found["s5"]["reject_reason"] == "over_target" and found["s5"]["score"] is None
    assert found["s3"]["selected_because"] == (
        "rank 1 by score (norm rank), place 1 of 4 candidates in their mix of types"
    )


def test_targets_bind_the_main_job_alone_and_types_may_be_unknown(spark: SparkSession) -> None:
    samples = [sample(f"s{n}", None, 0, paradigm="imported") for n in range(4)]
    rows = [measured(f"s{n}", None, float(n)) for n in range(4)]
    found = run(spark, samples, rows, TargetSettings(single=1, multi=0), by="influence", top_count=2, alpha=1.0)
    assert taken(found) == {"s3", "s2"}
