"""Several processes: the job through spark-submit on executors of their own gives the rows that one process gives."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.runtime.tables import Tables
from jobs.stages import STAGES
from tests.roots import prose, write_conversations, write_documents

REPOSITORY = Path(__file__).resolve().parents[2]
SHORT = ("conversations", "long_conversations", "long_documents", "meta_records")
LONG = (*SHORT, "conversation_types", "canonical_values", "task_rewrites", "seed_paths", "nodes", "edges")
WORDS = ("rice", "tides", "moss", "basalt", "copper", "plankton", "lichen", "amber")


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Eight conversations and six documents, short ones, with limits to match."""
    kinds = ("Summarise this report", "Translate this letter into French", "Explain this source code", "List the facts")
    turns = [[f"{kinds[i % 4]}. {prose(word, 14)}", f"In short: {prose(word, 2)}"] for i, word in enumerate(WORDS)]
    conversations = write_conversations(tmp_path / "talk.jsonl", turns)
    documents = write_documents(tmp_path / "docs.jsonl", [prose(f"{word} survey", 16) for word in WORDS[:6]])
    return [
        f"inputs.conversations=['{conversations}']",
        f"inputs.documents=['{documents}']",
        "filter={min_conversation_tokens: 100, min_document_tokens: 100, max_pair_document_tokens: 2000}",
        "types.k=2",
    ]


def submit(root: Path, given: list[str], master: str, until: str) -> dict[str, object]:
    summary = root.parent / f"{root.name}.json"
    command = [
        str(REPOSITORY / ".venv/bin/spark-submit"), "--properties-file", str(REPOSITORY / "infra/spark-defaults.conf"),
        "--master", master, "--conf", "spark.executor.memory=1g", str(REPOSITORY / "jobs/synthesize.py"),
        "--root", str(root), "--until", until, "--summary", str(summary),
    ]  # fmt: skip
    for override in given:
        command += ["--set", override]
    environment = {**os.environ, "SPARK_WORKER_DIR": str(root.parent / "work")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    found: dict[str, object] = json.loads(summary.read_text(encoding="utf-8"))
    return found


@pytest.mark.spark
def test_two_executors_give_the_same_rows(spark: SparkSession, tmp_path: Path, given: list[str]) -> None:
    """local-cluster has real executors: pickling, imports and shuffles are those of a cluster."""
    compare(spark, tmp_path, given, SHORT)


@pytest.mark.spark
@pytest.mark.cluster
def test_two_executors_build_the_same_graphs(spark: SparkSession, tmp_path: Path, given: list[str]) -> None:
    compare(spark, tmp_path, given, LONG)


def compare(spark: SparkSession, folder: Path, given: list[str], names: tuple[str, ...]) -> None:
    """Run up to the last table in this process and on two executors; the tables must be equal."""
    one, two = folder / "one", folder / "two"
    settings = load_settings(None, given, str(one))
    assert Synthesis(spark, settings, STAGES, Choices(until=names[-1])).run() == 0
    submit(two, given, "local-cluster[2,1,1024]", names[-1])
    for name in names:
        held = [_comparable(spark, root, name) for root in (one, two)]
        assert held[0], f"{name} is empty"
        assert held[0] == held[1], name


def _comparable(spark: SparkSession, root: Path, name: str) -> list[tuple[object, ...]]:
    """Rows without the run's own columns; floats rounded to five digits, vectors to four."""
    tables = Tables(spark, load_settings(None, [], str(root)).storage)
    rows = tables.read(name).drop("run_id", "path", "source_file", "call_id").collect()
    return sorted((tuple(_rounded(value) for value in row) for row in rows), key=repr)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return tuple(_rounded(item) for item in value)
    return value
