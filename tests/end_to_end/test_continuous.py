"""`--continuous` as a process: a dropped file goes through every stage of the next pass; one that cannot ends it.

The next run goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.runtime import checkout
from tests.equality import tables_at
from tests.small_corpus import SCORING, fitting, small_corpus, synthesize

# What a conversation and a document pass through; the graphs are there for the walks of later targets.
PASSED = {
    "conversations", "long_conversations", "meta_records", "conversation_types", "canonical_values", "task_rewrites",
    "seed_paths", "nodes", "edges", "graph_stats",
    "documents", "long_documents", "document_features", "typed_documents",
}  # fmt: skip
LATER = 5  # documents that are dropped later
PAUSE_S = 15  # between passes; within it both later files come, so that one pass has to take them


@pytest.mark.spark
@pytest.mark.cluster
@pytest.mark.timeout(1200)
def test_a_dropped_file_is_through_every_stage_after_the_next_pass(spark: SparkSession, tmp_path: Path) -> None:
    records = small_corpus(tmp_path / "corpus")
    records.write_conversations(tmp_path / "conversations-1.parquet", 0, -1)
    later = records.write_conversations(tmp_path / "later.parquet", -1)
    records.write_documents(tmp_path / "documents-1.jsonl.zst", 0, -LATER)
    papers = records.write_documents(tmp_path / "later.jsonl.zst", -LATER)
    given, root = fitting(tmp_path, *SCORING), tmp_path / "root"
    command = [str(checkout.CHECKOUT / ".venv/bin/spark-submit"), str(checkout.CHECKOUT / "jobs/synthesize.py")]
    command += ["--root", str(root), "--continuous", str(PAUSE_S)]
    for override in given:
        command += ["--set", override]
    told = tmp_path / "told.txt"
    with told.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path) as running:

        def passes(number: int) -> Callable[[], bool]:
            """The run begins with one commit, and a pass that did something ends with one of what it did."""
            return lambda: len(list((root / "stage_runs/_delta_log").glob("*.json"))) > number

        try:
            wait_for(running, passes(1))
            papers.rename(tmp_path / "documents-2.jsonl.zst")
            later.rename(tmp_path / "conversations-2.parquet")
            wait_for(running, passes(2))
            wait_for(running, lambda: executions(root) >= PASSED)  # now, while the run still lives
            pq.write_table(pa.table({"body": ["x"]}), tmp_path / "unlike.parquet")
            bad = (tmp_path / "unlike.parquet").rename(tmp_path / "conversations-3.parquet")
            assert running.wait(timeout=300) == 2
        finally:
            stop(root, running)
    said = told.read_text(encoding="utf-8")
    assert "Traceback" not in said
    assert "conversations-3.parquet" in said and "body string" in said, (
        "columns found and expected, as on the first pass"
    )
    assert tables_at(spark, root).read("source_files").where(F.col("path") == str(bad)).isEmpty()
    bad.unlink()

    tables = tables_at(spark, root)
    first = tables.read("stage_runs", version=1).select("id")
    second = tables.read("stage_runs", version=2).join(first, "id", "left_anti").select("stage").collect()
    assert {row["stage"] for row in second} >= PASSED, "one pass took it through everything"
    (record,) = tables.read("conversations").where(F.col("path").endswith("/conversations-2.parquet")).collect()
    for name in ("long_conversations", "meta_records", "conversation_types", "seed_paths"):
        assert not tables.kept(name).where(F.col("conversation") == record["id"]).isEmpty(), f"{name} has not got it"
    papers = tables.read("documents").where(F.col("path").endswith("/documents-2.jsonl.zst")).collect()
    assert len(papers) == LATER
    long = tables.kept("long_documents").where(F.col("document").isin([row["id"] for row in papers]))
    for name in ("document_features", "typed_documents"):
        typed = long.join(tables.kept(name), "document", "left_anti")
        assert not long.isEmpty() and typed.isEmpty(), f"{name} has not got every document"
    assert tables.read("edges").select("batch").distinct().count() == 2
    assert not tables.kept("influence").isEmpty(), "the samples of the first pass were measured"

    status, summary = synthesize(spark, root, given)
    assert status == 0
    assert summary["targets"]["single"] == {"asked": 6, "accepted": 6}
    assert sum(stage["calls"] + stage["out"] for stage in summary["stages"]) == 0, "the next run finds all done"


def executions(root: Path) -> set[str]:
    """Stages that MLflow holds more than one execution of: of the first pass, and of the second."""
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{root}/_mlflow/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
    runs = client.search_runs([experiment.experiment_id], "tags.`longloom.kind` = 'stage'", max_results=1000)
    told = Counter(run.data.tags["mlflow.runName"] for run in runs)
    return {name for name, count in told.items() if count > 1}


def wait_for(running: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
    """Until something is done; a process that ends before it fails the test."""
    for _ in range(1200):
        if done():
            return
        assert running.poll() is None, f"the run ended by itself with status {running.returncode}"
        time.sleep(0.5)
    raise TimeoutError("ten minutes have passed")


def stop(root: Path, running: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the job's own process, which the lock names, so that it ends after the pass."""
    lock = root / "_lock"
    if running.poll() is None:
        pid = json.loads(lock.read_text(encoding="utf-8"))["pid"] if lock.is_file() else running.pid
        os.kill(pid, signal.SIGTERM)
    running.wait(timeout=300)
