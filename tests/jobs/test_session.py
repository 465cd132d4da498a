"""What the session is built from; the shared session itself is what most other tests run on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import forget, synthesize
from jobs.runtime import checkout, health, session
from jobs.runtime.errors import SettingsFault
from jobs.runtime.java import Java
from jobs.runtime.launch import read_confs
from jobs.runtime.opening import misplaced, opened
from jobs.runtime.settings import load_settings


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


@pytest.mark.parametrize("entry", [synthesize.main, forget.main])
def test_missing_jars_and_java_stop_before_a_jvm_is_started(
    entry: Callable[[list[str]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without the wrapper too: status 2, both sentences with what mends them, no traceback, nothing written."""
    monkeypatch.setattr(session, "launched_by_platform", lambda: False)
    monkeypatch.setattr(checkout, "JARS", tmp_path / ".jars")
    monkeypatch.setattr(health, "find_java", lambda environment: Java(tmp_path / "jdk-11", 11))
    assert entry(["--root", str(tmp_path / "root"), *(["--id", "x"] if entry is forget.main else [])]) == 2
    told = capsys.readouterr().err
    assert "java: 11 in " in told and "needed is 17" in told and "openjdk" in told
    assert "jars: " in told and "is missing" in told and "make setup" in told
    assert list(tmp_path.iterdir()) == []


def test_the_environment_is_prepared_but_not_overridden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But for a Java that Spark cannot run on, where there is another."""
    given = {"PYSPARK_PYTHON": "/other/python", "SPARK_SUBMIT_OPTS": "-Dmine=1", "JAVA_HOME": "/old/java"}
    monkeypatch.setattr(os, "environ", given)
    monkeypatch.setattr(session, "find_java", lambda environment: Java(tmp_path, 17))
    session.prepare_environment("local[2]")
    session.prepare_environment("local[2]")
    assert os.environ["PYSPARK_PYTHON"] == "/other/python" and os.environ["JAVA_HOME"] == str(tmp_path)
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
    with pytest.raises(SettingsFault, match=r"the Imaginary jar is not on Spark's class path.*`make setup`") as caught:
        session.require_classes(spark)
    assert caught.value.exit_status == 2


@pytest.mark.spark
def test_nothing_is_left_in_the_checkout(spark: SparkSession) -> None:
    spark.sql("SELECT 1").collect()
    left = {"derby.log", "metastore_db", "spark-warehouse"} & {path.name for path in checkout.CHECKOUT.iterdir()}
    assert left == set()


@pytest.mark.spark
def test_a_root_of_no_file_system_is_refused_where_spark_has_another_default(spark: SparkSession) -> None:
    """On YARN, say: tables would go to HDFS, the lock and the replies of calls to local disks."""
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    before = conf.get("fs.defaultFS")
    assert misplaced(spark, "/data/longloom") is None
    try:
        conf.set("fs.defaultFS", "hdfs://name:8020")
        for root in ("hdfs://name:8020/longloom", "s3a://bucket/longloom", "file:///data", "/Volumes/a/b/c"):
            assert misplaced(spark, root) is None
        told = misplaced(spark, "/data/longloom")
        assert told is not None and "give hdfs://name:8020/data/longloom" in told
        settings = load_settings(None, [], "/data/longloom")
        with pytest.raises(SettingsFault, match="names no file system"), opened(spark, settings, print):
            pass
    finally:
        conf.set("fs.defaultFS", before)
