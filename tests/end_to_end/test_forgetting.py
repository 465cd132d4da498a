"""The whole job, with two files forgotten that came later: as if it had never seen them, and it goes on from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sql
from jobs.runtime.forgetting import forget
from jobs.runtime.maintenance import maintain
from jobs.runtime.opening import opened
from jobs.runtime.settings import load_settings
from jobs.stages import STAGES
from tests.equality import tables_at
from tests.small_corpus import fitting, small_corpus, synthesize

pytestmark = [pytest.mark.spark, pytest.mark.end_to_end, pytest.mark.faults]
CHECKOUT = Path(__file__).resolve().parents[2]


def counts(spark: SparkSession, root: Path, name: str, *key: str) -> dict[tuple[str, ...], int]:
    rows = tables_at(spark, root).read(name).groupBy(*key).agg(F.sum("count")).collect()
    return {tuple(row)[:-1]: row[-1] for row in rows}


def graph(spark: SparkSession, root: Path) -> list[dict[tuple[str, ...], int]]:
    return [counts(spark, root, "nodes", "node", "value"), counts(spark, root, "edges", "source", "target")]


def versions(spark: SparkSession, root: Path) -> dict[str, int]:
    tables = tables_at(spark, root)
    return {name: tables.version(name) for name in sql.tables()}


@pytest.mark.timeout(3600)
def test_a_root_that_forgot_is_one_that_never_saw(spark: SparkSession, tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "whole")
    talks = corpus.write_conversations(tmp_path / "conversations-1.parquet", 0, -8)
    assert talks.is_file()
    corpus.write_documents(tmp_path / "documents-1.jsonl.zst", 6)
    given = fitting(tmp_path)
    root, before = tmp_path / "root", tmp_path / "never-saw"
    assert synthesize(spark, root, given)[0] == 0
    shutil.copytree(root, before)

    later = corpus.write_conversations(tmp_path / "conversations-2.parquet", -8, -1)
    more = corpus.write_documents(tmp_path / "documents-2.jsonl.zst", 0, 6)
    assert synthesize(spark, root, given)[0] == 0
    assert graph(spark, root) != graph(spark, before)
    chosen = tables_at(spark, root).kept("training_set").select(F.explode("documents").alias("document")).limit(1)
    (document,) = chosen.collect()  # of the first file: a training row is to die of it
    read = tables_at(spark, root)
    texts = [row["text"] for row in read.read("documents").where(F.col("path") == str(more)).collect()]
    talk = read.read("conversations").where(F.col("path") == str(later)).collect()
    texts += [row[said] for row in talk for said in ("user_text", "assistant_text")]
    assert len(talk) == 7 and all(len(text) > 100 for text in texts)
    settings = load_settings(None, given, str(root))
    with opened(spark, settings, print) as runner:
        outcome = forget(runner, STAGES, [str(later), str(more)], [document["document"]])
    assert {"conversations", "documents", "seed_paths", "nodes", "samples", "training_set", "llm_calls"} <= set(
        outcome.removed
    )
    assert graph(spark, root) == graph(spark, before)
    tables = tables_at(spark, root)
    held = "\n".join(line for name in sql.tables() for line in tables.read(name).toJSON().collect())
    assert not [text for text in texts if json.dumps(text, ensure_ascii=False)[1:200] in held]

    # The next run makes up for the samples that are gone, reads nothing again, and warns of what is stale.
    status, summary = synthesize(spark, root, given)
    assert status == 0, summary["warnings"]
    assert {name: told["accepted"] for name, told in summary["targets"].items()} == {"single": 6, "multi": 3}
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert {stages[name]["state"] for name in ("conversations", "meta_records", "nodes", "edges")} == {"unchanged"}
    assert any("classifier is stale" in warning for warning in summary["warnings"])
    assert document["document"] not in {row["id"] for row in tables_at(spark, root).read("documents").collect()}

    # Maintenance with no history left, and still nothing to do afterwards.
    with opened(spark, settings, print) as runner:
        maintain(runner, STAGES, 0)
    assert tables_at(spark, root).read("nodes").select("batch").distinct().count() == 1
    assert graph(spark, root) == graph(spark, before)
    kept = versions(spark, root)
    status, summary = synthesize(spark, root, given)
    assert status == 0 and {stage["state"] for stage in summary["stages"]} <= {"unchanged", "frozen"}, summary
    assert {name: v for name, v in versions(spark, root).items() if name != "stage_runs"} == {
        name: v for name, v in kept.items() if name != "stage_runs"
    }

    # A refit takes the warning away, and the streams still take in what comes.
    corpus.write_conversations(tmp_path / "conversations-3.parquet", -1)
    status, summary = synthesize(spark, root, given, refit=("document_types", "canonical_values", "classifier"))
    assert status == 0 and not [line for line in summary["warnings"] if "stale" in line], summary["warnings"]
    new = tables_at(spark, root).read("conversations").where(F.col("path").endswith("/conversations-3.parquet"))
    assert new.join(tables_at(spark, root).read("seed_paths"), F.col("conversation") == new["id"]).count() > 0

    # As a user types it: a second time, an unknown file, a root that another run holds.
    def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobs.forget", "--root", str(root), *arguments]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    again = typed("--source", str(later))
    assert again.returncode == 0 and "was forgotten before" in again.stdout and "0 rows removed" in again.stdout
    unknown = typed("--source", str(tmp_path / "other.parquet"))
    assert unknown.returncode == 2 and "never read such a file" in unknown.stderr, unknown.stderr
    with opened(spark, settings, print):
        held_by_us = typed("--source", str(later))
    assert held_by_us.returncode == 5 and f"process {os.getpid()}" in held_by_us.stderr, held_by_us.stderr
