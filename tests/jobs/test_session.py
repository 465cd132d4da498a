"""What the session is built from; the shared session itself is what most other tests run on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime import checkout, session
from jobs.runtime.launch import read_confs


def test_confs_are_parsed_as_spark_does(tmp_path: Path) -> None:
    path = tmp_path / "spark.conf"
    path.write_text("# a comment\n\nspark.a   1\nspark.b\t-Dx=1 -Dy=2  \n", encoding="utf-8")
    assert read_confs(path) == {"spark.a": "1", "spark.b": "-Dx=1 -Dy=2"}


def test_the_file_has_what_delta_needs_and_a_reason_for_most_lines() -> None:
    confs = session.static_confs()
    assert confs["spark.sql.extensions"] == "io.delta.sql.DeltaSparkSessionExtension"
    assert confs["spark.master"].startswith("local[") and confs["spark.master"].endswith(",4]")
    lines = checkout.SPARK_DEFAULTS.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("#") for line in lines) >= len(confs) / 2


def test_one_jvm_reads_the_jars_in_place_and_several_get_them_shipped() -> None:
    local, shipped = session.class_path(local=True), session.class_path(local=False)
    assert set(local) == {"spark.driver.extraClassPath"} and set(shipped) == {"spark.jars"}
    assert local["spark.driver.extraClassPath"].split(":") == shipped["spark.jars"].split(",")


def test_missing_jars_stop_before_a_jvm_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "JARS", tmp_path)
    with pytest.raises(RuntimeError, match="make setup"):
        session.class_path(local=True)


def test_the_environment_is_prepared_but_not_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PYSPARK_PYTHON": "/other/python", "SPARK_SUBMIT_OPTS": "-Dmine=1"})
    session.prepare_environment("local[2]")
    session.prepare_environment("local[2]")
    assert os.environ["PYSPARK_PYTHON"] == "/other/python"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    options = os.environ["SPARK_SUBMIT_OPTS"].split()
    assert options[0] == "-Dmine=1" and len(options) == len(set(options))


@pytest.mark.parametrize("name", ["PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION"])
def test_a_platform_is_recognised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    assert not session.launched_by_platform()
    monkeypatch.setenv(name, "1")
    assert session.launched_by_platform()


@pytest.mark.spark
def test_a_running_session_is_taken_as_it_is(spark: SparkSession) -> None:
    again = session.build_session("another", {"spark.sql.shuffle.partitions": "77"})
    assert again is spark
    assert spark.conf.get("spark.sql.shuffle.partitions") == session.static_confs()["spark.sql.shuffle.partitions"]


@pytest.mark.spark
def test_delta_and_graphframes_are_on_the_class_path(
    spark: SparkSession, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark.range(3).write.format("delta").save(root)
    assert spark.read.format("delta").load(root).count() == 3
    session.require_classes(spark)
    monkeypatch.setattr(session, "NEEDED", {"no.such.Extension": "Imaginary"})
    with pytest.raises(RuntimeError, match="The Imaginary jar is not on Spark's class path"):
        session.require_classes(spark)


@pytest.mark.spark
def test_nothing_is_left_in_the_checkout(spark: SparkSession) -> None:
    spark.sql("SELECT 1").collect()
    left = {"derby.log", "metastore_db", "spark-warehouse"} & {path.name for path in checkout.CHECKOUT.iterdir()}
    assert left == set()
