"""What may be ranked together: settings that make other figures, pairs that made them, and how often a pair loads."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

import sql
from jobs.runtime.checkout import CHECKOUT
from jobs.runtime.recipes import differences, recipe
from jobs.runtime.settings import Settings
from jobs.stages.influence import influence
from tests.jobs.stages.test_training_set import EVERYTHING, Row, measured, run, sample
from tests.roots import prose
from tests.sql.small_root import small_session
from tests.udfs.models.influence.families import save_family
from udfs.models.influence.columns import MEASURED_DDL
from udfs.models.influence.columns import measured as over_rows
from udfs.settings import InfluenceSettings

PARTITIONS = 8


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"short_context": "full"}, "influence.short_context: 'window' → 'full'"),
        ({"short_window": 500}, "influence.short_window: 0 → 500"),
        ({"template": "plain"}, "influence.template: 'gateau' → 'plain'"),
        ({"dtype": "bfloat16"}, "influence.dtype: 'auto' → 'bfloat16'"),
        ({"batch_tokens": 7}, None),
        ({"device": "cpu"}, None),
    ],
)
def test_the_recipe_holds_what_changes_a_figure(change: dict[str, Any], told: str | None) -> None:
    plain, other = Settings(), Settings(influence=InfluenceSettings(**change))
    assert list(differences(recipe(influence, plain), recipe(influence, other))) == ([told] if told else [])


def test_the_settings_for_a_workstation_name_every_key_of_the_section() -> None:
    given = yaml.safe_load((CHECKOUT / "infra/conf/local.yaml").read_text(encoding="utf-8"))["influence"]
    assert given == InfluenceSettings().model_dump(mode="json")


@pytest.fixture(scope="module")
def own(spark: SparkSession) -> SparkSession:
    return small_session(spark)


@pytest.mark.spark
def test_figures_of_two_pairs_are_not_ranked_together(own: SparkSession) -> None:
    samples = [sample(f"s{n}", "law", n) for n in range(3)] + [sample("over", "law", 9)]
    first = {"short_model": "short@local:1", "long_model": "long@local:1", "number_type": "float32"}
    rows = [{**measured(f"s{n}", "law", float(n)), **first} for n in range(3)]
    rows[2] |= {"long_model": "long@local:2", "number_type": "bfloat16"}
    rows.append({**measured("over", "law", 9.0), **first, "short_model": "short@local:9"})  # has no part in the ranks
    made = run(own, samples, rows, EVERYTHING.model_copy(update={"single": 3}), by="influence")
    assert made["over"]["reject_reason"] == "over_target" and made["over"]["score"] is None
    assert failed(own, made) == ["fail", "warn"]
    made["s2"]["measured_by"] = made["s0"]["measured_by"]
    assert failed(own, made) == ["warn"]
    made["s2"]["number_type"] = None  # of an older root
    assert failed(own, made) == []


def failed(own: SparkSession, made: dict[str, Row]) -> list[str]:
    """Levels of the checks that rows of the training set fail."""
    schema = sql.columns("training_set")
    frame = own.createDataFrame([tuple(row.get(name) for name in schema.names) for row in made.values()], schema)
    return [check.level for check, _ in sql.failed_checks("training_set", frame)]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("norm", "read", "told"),
    [
        ("paper", 100, "(norm paper over a short window, not as in the paper)"),
        ("paper", 192, "(norm paper)"),  # the short model read what the long one did
        ("reference", 100, "(norm reference over a short window, not as in the paper)"),
    ],
)
def test_a_row_claims_the_paper_only_where_both_models_read_the_same(
    own: SparkSession, norm: str, read: int, told: str
) -> None:
    samples = [sample(f"s{n}", "law", n) for n in range(3)]
    rows = [{**measured(f"s{n}", "law", float(n)), "short_context_tokens": read} for n in range(3)]
    found = run(own, samples, rows, EVERYTHING, by="influence", norm=norm)
    assert all(f"by score {told}, place" in row["selected_because"] for row in found.values())


def counting(settings: InfluenceSettings, folder: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """What the stage maps, leaving a file for each partition, named by its process, and one for each pair loaded."""
    rows = over_rows(settings)

    def mapped(frames: Iterator[Any]) -> Iterator[Any]:
        from udfs.models.influence import pair

        made = pair.make_scorer

        def noted(*arguments: Any) -> Any:
            Path(folder, f"pair-{uuid.uuid4()}").touch()
            return made(*arguments)

        Path(folder, f"partition-{os.getpid()}-{uuid.uuid4()}").touch()
        pair.make_scorer = noted
        try:
            yield from rows(frames)
        finally:
            pair.make_scorer = made

    return mapped


@pytest.mark.spark
def test_a_python_worker_loads_one_pair(spark: SparkSession, tmp_path: Path) -> None:
    short, long = (save_family(tmp_path / name, "llama", seed) for name, seed in (("short", 1), ("long", 2)))
    settings = InfluenceSettings(
        short_model=str(short), long_model=str(long), short_window=200, max_tokens=400, segment_tokens=64, device="cpu"
    )
    noted = tmp_path / "noted"
    noted.mkdir()
    texts = [(f"s{n}", prose(f"rice {n}", 2), "What grew?", f"Sample {n}.") for n in range(4 * PARTITIONS)]
    ddl = "sample string, context string, instruction string, response string"
    frame = spark.createDataFrame(texts, ddl).repartitionByRange(PARTITIONS, "sample")
    mapped: Any = counting(settings, str(noted))
    found = frame.mapInPandas(mapped, MEASURED_DDL).collect()
    assert len({row["sample"] for row in found}) == len(texts)
    assert {row["reject_reason"] for row in found} == {None} and {row["number_type"] for row in found} == {"float32"}
    pairs = len(list(noted.glob("pair-*")))
    partitions = [path.name.split("-")[1] for path in noted.glob("partition-*")]
    workers = len(set(partitions))
    assert len(partitions) == PARTITIONS and workers < PARTITIONS, "no worker had two: the test would prove nothing"
    assert 1 <= pairs <= workers
