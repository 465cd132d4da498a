"""The main job by batch files, killed between sending and collecting: the tables are those of a run call by call."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.fake_server.client import FakeServer
from tests.faults.account import require_equal
from tests.faults.corpus import teacher, write_corpus
from tests.faults.job import Job

pytestmark = [pytest.mark.spark, pytest.mark.faults, pytest.mark.timeout(3600)]
BY_BATCH = ["llm.teacher=openai_batch", "llm.batch_poll_s=0.2", "llm.batch_requests=4"]


def test_a_batch_outlives_the_run_that_sent_it(spark: SparkSession, tmp_path: Path) -> None:
    given = write_corpus(tmp_path / "corpus")
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"], batch_looks=-1) as server:
        with Job(tmp_path / "online", [*given, *teacher(server.base_url)]) as job:
            assert job.end() == 0, job.said
        online = len(server.requests())
        settings = [*given, *teacher(server.base_url), *BY_BATCH]
        with Job(tmp_path / "batch", settings) as job:
            assert job.wait_for(server.batches), job.said
            job.kill()
        with Job(tmp_path / "batch", [*settings, "llm.batch_wait_s=0"]) as job:
            assert job.end() == 4, job.said
            assert "is fitted once, so it waits for the outstanding batches of meta_records" in job.said
        assert len(server.requests()) == online, "nothing has run yet"
        server.change(batch_looks=2, batch_expires=0.2)
        with Job(tmp_path / "batch", settings) as job:
            assert job.end() == 0, job.said
        by_batch = server.requests()[online:]
        assert all(entry["batch"] for entry in by_batch), "nothing went out call by call"
        runs = Counter(entry["hash"] for entry in by_batch)
        assert max(runs.values()) == 1, "a request ran twice"
    require_equal(spark, tmp_path / "online", tmp_path / "batch")
    key = os.environ["FAKE_KEY"].encode()
    assert not any(key in file.read_bytes() for file in (tmp_path / "batch").rglob("*") if file.is_file())
