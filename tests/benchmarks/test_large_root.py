"""What a large root adds to one more conversation: its keys looked for in a large ledger, its bands among many.

The peers are the join of both, which longloom makes where there is more than a little to ask, and bands that are all
sorted. Each pair sees the same tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

import sql
from jobs.runtime.ledger_frames import settled_requests
from tests.benchmarks.timing import interleaved, ratio, say, scaled

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

CALLS, FILES, RUNS = 300_000, 40, 20
TASKS = ("type_label", "meta", "answer")
TEXT = 36  # hashes of 64 letters in a reply
EARLIER, PERMUTATIONS, BANDS = 100_000, 128, 16  # rows that were compared before, and what is kept of each
SEMI_JOIN = "  LEFT SEMI JOIN new_keys USING (band)\n"


def write_ledger(spark: SparkSession, folder: str, calls: int) -> None:
    """Calls of three tasks, 2.3 KB of text each, a run in two files."""

    def hashed(name: str) -> Column:
        return F.sha2(F.concat_ws("-", "id", F.lit(name)), 256)

    told = {
        "id": hashed("id"),
        "parent_ids": F.array().cast("array<string>"),
        "key": hashed("key"),
        "task": F.element_at(F.array(*map(F.lit, TASKS)), (F.col("id") % 3 + 1).cast("int")),
        "teacher": F.lit("openai"),
        "status": F.lit("ok"),
        "text": F.concat(F.lit('{"label": "'), *[hashed(str(number)) for number in range(TEXT)], F.lit('"}')),
        "run_id": F.concat(F.lit("run-"), F.floor(F.col("id") * RUNS / calls).cast("string")),
    }
    made = [
        told.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in sql.columns("llm_calls")
    ]
    spark.range(0, calls, 1, FILES).select(*made).write.format("delta").save(folder)


def rows(requests: DataFrame, calls: DataFrame, few: bool) -> list[dict[str, Any]]:
    """What the ledger says of the requests."""
    found = settled_requests(requests, calls, "type_label", False, few).collect()
    return sorted((row.asDict(recursive=True) for row in found), key=lambda row: str(row["key"]))


def test_two_keys_in_a_large_ledger(spark: SparkSession, tmp_path: Path) -> None:
    folder, count = str(tmp_path / "llm_calls"), scaled(CALLS, 3_000)
    write_ledger(spark, folder, count)
    calls = spark.read.format("delta").load(folder)
    (known,) = calls.where("task = 'type_label'").orderBy("key").select("key").head(1)
    size = sum(file.stat().st_size for file in Path(folder).glob("*.parquet")) / 1e6
    for name, keys, answered in (("new", ["x", "y"], 0), ("one of them known", ["x", known["key"]], 1)):
        asked = spark.createDataFrame([(f"input {key}", key) for key in keys], "input_id string, key string")
        timed = interleaved({
            "few": lambda asked=asked: rows(asked, calls, True), "join": lambda asked=asked: rows(asked, calls, False)
        })  # fmt: skip
        few, join = timed["few"], timed["join"]
        assert few.result == join.result and sum(row["status"] == "ok" for row in few.result) == answered
        say(
            "two keys in a large ledger",
            f"{name}: {few.warm:.1f} s against {join.warm:.1f} s joined, {ratio(join.warm, few.warm):.1f}x warm, "
            f"{ratio(join.cold, few.cold):.1f}x cold; {count:,} calls, {size:.0f} MB",
        )


def signed(numbers: DataFrame) -> DataFrame:
    """Rows with a signature and bands that no other one shares."""
    drawn = "transform(sequence(1, {}), at -> xxhash64('{}', id, at))"
    return numbers.select(
        F.sha2(F.col("id").cast("string"), 256).alias("id"),
        F.sha2(F.concat_ws("-", F.lit("text"), "id"), 256).alias("duplicate_key"),
        F.expr(drawn.format(PERMUTATIONS, "signature")).alias("signature"),
        F.expr(drawn.format(BANDS, "band")).alias("bands"),
    )


def test_bands_of_one_row_among_many(spark: SparkSession, tmp_path: Path) -> None:
    folder, count = str(tmp_path / "rows"), scaled(EARLIER, 1_000)
    signed(spark.range(0, count, 1, FILES)).write.format("delta").save(folder)
    earlier = spark.read.format("delta").load(folder)
    twin = earlier.limit(1).withColumns({"id": F.lit("twin"), "duplicate_key": F.lit("its text")})
    fresh = spark.createDataFrame(signed(spark.range(count, count + 1)).union(twin).collect(), earlier.schema)
    query = sql.query("band_members")
    assert SEMI_JOIN in query

    def members(text: str) -> list[tuple[Any, ...]]:
        found = spark.sql(text, rows=fresh, previous=earlier).select("band", "fresh", "id").collect()
        return sorted(tuple(row) for row in found)

    timed = interleaved({"ours": lambda: members(query), "all": lambda: members(query.replace(SEMI_JOIN, ""))})
    ours, every = timed["ours"], timed["all"]
    assert ours.result == every.result and len(ours.result) == 2 * BANDS
    say(
        "bands of two rows among many",
        f"{ours.warm:.1f} s against {every.warm:.1f} s sorting all, {ratio(every.warm, ours.warm):.1f}x warm, "
        f"{ratio(every.cold, ours.cold):.1f}x cold; {count:,} earlier rows of {BANDS} bands",
    )
