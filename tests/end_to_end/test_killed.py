"""Real processes, killed by parts and as a whole; the run that comes after ends like one nobody disturbed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.fake_server.client import FakeServer
from tests.faults.account import noted, require_asked_once, require_equal
from tests.faults.corpus import teacher, write_corpus
from tests.faults.job import DIES, Job

LAST = "meta_records"


def synthesize(spark: SparkSession, root: Path, given: list[str], base_url: str) -> int:
    settings = load_settings(None, [*given, *teacher(base_url, concurrency=1)], str(root))
    return Synthesis(spark, settings, STAGES, Choices(until=LAST)).run()


@pytest.mark.spark
@pytest.mark.end_to_end
@pytest.mark.timeout(1800)
def test_a_worker_and_two_runs_are_killed(spark: SparkSession, tmp_path: Path) -> None:
    given, root = write_corpus(tmp_path), tmp_path / "root"
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        assert synthesize(spark, tmp_path / "quiet", given, server.base_url) == 0
    with FakeServer(key=os.environ["FAKE_KEY"], latency=0.4) as server:
        asking = [*given, *teacher(server.base_url, concurrency=1)]
        kills = list[tuple[float, float]]()

        def answered(least: int) -> bool:
            return sum(request["answered"] for request in server.requests()) >= least

        with Job(root, asking, "--until", LAST) as job:
            assert job.wait_for(lambda: answered(1)), job.said
            with noted(kills):
                assert job.kill_one("pyspark.worker", min)
            assert job.wait_for(lambda: answered(3)), job.said
            with noted(kills):
                job.kill()
        # Between the ledger and the output.
        with Job(root, asking, "--until", LAST, entry=DIES, DIE_AT=f"before write {LAST}") as job:
            assert job.end() == 137, job.said
        assert (root / "_lock").exists(), "it died with the root in its hands"
        sent = len(server.requests())
        assert synthesize(spark, root, given, server.base_url) == 0
        assert len(server.requests()) == sent, "all was answered before"
        require_asked_once(server.requests(), kills)
    require_equal(spark, tmp_path / "quiet", root, LAST)
