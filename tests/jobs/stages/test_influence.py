"""The stage that measures: a row for every sample, the scorer's own figures, the same however rows are spread."""

from __future__ import annotations

import pytest
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sql
from jobs.stages.influence import TASKS_A_CORE, influence, spread
from tests.equality import alike
from tests.roots import prose
from tests.udfs.models.influence.families import save_family
from udfs.models.influence.pair import make_scorer
from udfs.models.influence.recipe import Sample
from udfs.settings import InfluenceSettings

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> InfluenceSettings:
    """A pair of random models whose tokens are bytes; the short one reads 300 of them."""
    root = tmp_path_factory.mktemp("pair")
    short, long = (save_family(root / name, "llama", seed) for name, seed in (("short", 1), ("long", 2)))
    return InfluenceSettings(
        short_model=str(short), long_model=str(long), short_window=300, max_tokens=800, segment_tokens=64, device="cpu"
    )


@pytest.mark.faults
def test_every_sample_is_measured_as_the_scorer_does_or_says_why_not(
    spark: SparkSession, settings: InfluenceSettings
) -> None:
    texts = {f"s{n}": (prose(f"rice {n}", 1 + 2 * n), "What grew?", f"Sample {n} grew.") for n in range(5)}
    texts["blank"] = ("  \n", "What grew?", "Nothing.")
    texts["wordy"] = (prose("tides", 3), "What grew?", prose("tides", 4))  # too long for the window: read in parts
    texts["asking"] = (prose("tides", 3), prose("moss", 4), "It grew.")
    schema = sql.columns("samples")
    rows = [
        {"id": name, "setting": "single", "document_type": "news", "context": c, "instruction": i, "response": r}
        for name, (c, i, r) in texts.items()
    ]
    samples = spark.createDataFrame([tuple(row.get(name) for name in schema.names) for row in rows], schema)
    made = influence.function(samples, influence=settings).collect()
    found = {row["sample"]: row.asDict(recursive=True) for row in made}
    assert len(made) == len(texts) and found.keys() == texts.keys()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    scorer = make_scorer(settings, torch.device("cpu"))
    for name, parts in texts.items():
        wanted = scorer.measure(Sample(*parts))
        for figure in ("context_tokens", "dropped_tokens", "short_log_ppl", "long_log_ppl", "segment_log_ppl",
                       "segment_attention", "layer_attention"):  # fmt: skip
            assert alike(found[name][figure], getattr(wanted, figure)), (name, figure)
        assert found[name]["reject_reason"] == wanted.reason
        assert found[name]["truncated"] == (wanted.dropped_tokens > 0)
    torch.set_num_threads(threads)
    assert {name: row["reject_reason"] for name, row in found.items() if row["reject_reason"]} == {
        "blank": "empty_context",
        "asking": "no_room_for_context",
    }
    assert found["s4"]["truncated"] and not found["s0"]["truncated"]
    assert found["s0"]["parent_ids"] == ["s0"] and found["s0"]["document_type"] == "news"
    assert found["s0"]["long_model"].startswith("long@local:")
    frame = spark.createDataFrame([found["s0"] | {"run_id": "", "recipe": ""}], sql.columns("influence"))
    assert sql.failed_checks("influence", frame) == []
    broken = frame.withColumn("long_log_ppl", F.lit(float("nan")))
    assert [check.level for check, _ in sql.failed_checks("influence", broken)] == ["fail"]


def test_long_rows_are_dealt_out_by_cost(spark: SparkSession) -> None:
    sizes = [2_000 * (1 + n % 40) for n in range(120)]
    texts = spark.createDataFrame(
        [(f"s{n:03d}", "x" * size, "", "y") for n, size in enumerate(sizes)],
        "sample string, context string, instruction string, response string",
    )
    parts = spark.sparkContext.defaultParallelism * TASKS_A_CORE
    rows = spread(texts, 65_536).select(F.spark_partition_id().alias("part"), "sample", F.length("context").alias("n"))
    held: dict[int, list[int]] = {}
    for row in rows.collect():
        held.setdefault(row["part"], []).append(row["n"])
    assert len(held) == parts and sum(map(len, held.values())) == 120
    loads = [sum(n / 3 * (1 + n / 3 / 16_384) for n in part) for part in held.values()]
    assert max(loads) < 1.05 * min(loads)
    assert all(part == sorted(part, reverse=True) for part in held.values())
