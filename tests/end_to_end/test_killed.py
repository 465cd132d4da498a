"""Real processes, killed by parts and as a whole; the run that comes after ends like one that nobody killed.

The server spoils a fifth of all requests, and is killed once itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.faults.account import Kills, noted, require_equal
from tests.faults.corpus import teacher, write_corpus
from tests.faults.job import DIES, WORKER, Job, calling
from tests.faults.service import FAULTS, Service

LAST = "meta_records"
RESUMABLE = {0, 4}  # 4: rows wait for what passes


def finish(spark: SparkSession, root: Path, given: list[str]) -> None:
    """Run again until nothing waits."""
    settings = load_settings(None, given, str(root))
    for _ in range(4):
        status = Synthesis(spark, settings, STAGES, Choices(until=LAST)).run()
        assert status in RESUMABLE
        if not status:
            return
    raise AssertionError("four runs did not bring it to its end")


@pytest.mark.spark
@pytest.mark.end_to_end
@pytest.mark.timeout(1800)
def test_a_worker_the_server_and_two_runs_are_killed(spark: SparkSession, tmp_path: Path) -> None:
    given, root, kills = write_corpus(tmp_path), tmp_path / "root", Kills()
    undisturbed = Service(tmp_path / "quiet.log", 0.0)
    finish(spark, tmp_path / "quiet", [*given, *teacher(undisturbed.base_url, concurrency=1)])
    undisturbed.close()
    assert undisturbed.met & FAULTS.keys(), "no request met a fault"

    service = Service(tmp_path / "log", 0.4)
    asking = [*given, *teacher(service.base_url, concurrency=1)]
    with Job(root, asking, "--until", LAST) as job:
        assert job.wait_for(lambda: service.answered >= 1), job.said
        with noted(kills):
            assert job.wait_for(lambda: job.kill_one(WORKER, calling(service.port))), job.said
        assert job.wait_for(lambda: service.answered >= 3), job.said
        with noted(kills):
            service.restart(0.2)
        assert job.wait_for(lambda: service.answered >= 5), job.said
        with noted(kills):
            job.kill()
    # Between the ledger and the output.
    with Job(root, asking, "--until", LAST, entry=DIES, DIE_AT=f"before write {LAST}") as job:
        assert job.end() == 137, job.said
    assert (root / "_lock").exists(), "it died with the root in its hands"
    sent = service.answered
    finish(spark, root, asking)
    assert service.answered - sent <= len(undisturbed.met), "what was answered before is not asked again"
    service.require_asked_once(kills)
    require_equal(spark, tmp_path / "quiet", root, LAST)
    sent = service.answered
    finish(spark, root, asking)
    assert service.answered == sent, "nothing is new, so nothing is asked"
    service.close()
