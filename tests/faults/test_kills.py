"""SIGKILL of the driver, of Python workers and of executors over full runs: the tables are those of a quiet run."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.fake_server.client import FakeServer
from tests.faults.account import noted, require_asked_once, require_equal
from tests.faults.corpus import teacher, write_corpus
from tests.faults.job import DIES, WORKER, Course, Job, working

pytestmark = [pytest.mark.spark, pytest.mark.faults, pytest.mark.timeout(3600)]

DRIVER_KILLS, WORKER_KILLS, EXECUTOR_KILLS = 12, 6, 3
# Each between two writes that belong together, in the order of a run: a root is killed at every other one in turn.
POINTS = (
    "after append sources",  # between a record's sightings and the record
    "before write meta_records",  # between the ledger and the output
    "after write meta_records",  # between the output and the stream's own commit
    "before remove_segments",  # between the ledger and the end of the spool
    "before write task_rewrites",
    "before write seed_paths",
    "after write edges",
    "before write samples",  # in the middle of a round
    "before write influence",
    "before replace training_set",
    "before close",  # all is written, nothing is accounted for
)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def quiet(given: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Course]:
    """The root of a run that nothing disturbed, and the course that the run took."""
    root = tmp_path_factory.mktemp("roots") / "quiet"
    with FakeServer(key=os.environ["FAKE_KEY"]) as server, Job(root, [*given, *teacher(server.base_url)]) as job:
        assert job.end() == 0, job.said
        require_asked_once(server.requests(), [])
        course = Course(job.reported())
    assert course.stages[-1] == "training_set" and len(course.stages) > DRIVER_KILLS, course.stages
    return root, course


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"], latency=0.1) as running:
        yield running


def test_the_driver_is_killed_at_random_moments(
    spark: SparkSession, given: list[str], quiet: tuple[Path, Course], server: FakeServer, tmp_path: Path
) -> None:
    """Further into the run each time, from its first moments to its last stage."""
    chance, kills, lock = random.Random(4), list[tuple[float, float]](), tmp_path / "root" / "_lock"
    for moment in quiet[1].moments(chance, DRIVER_KILLS):
        with Job(tmp_path / "root", [*given, *teacher(server.base_url)]) as job:
            if job.wait_for(lambda job=job, moment=moment: lock.exists() and quiet[1].past(moment, job)):
                time.sleep(chance.uniform(0.0, 2.0))
            assert job.process.poll() is None, "it ended before it could be killed"
            with noted(kills):
                job.kill()
    finish(given, server, tmp_path / "root")
    require_asked_once(server.requests(), kills)
    require_equal(spark, quiet[0], tmp_path / "root")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_driver_dies_between_writes_that_belong_together(
    spark: SparkSession, given: list[str], quiet: tuple[Path, Course], server: FakeServer, tmp_path: Path, seed: int
) -> None:
    for point in POINTS[seed - 1 :: 2]:
        with Job(tmp_path / "root", [*given, *teacher(server.base_url)], entry=DIES, DIE_AT=point) as job:
            assert job.end() == 137, f"it was not killed {point}: {job.said[-2000:]}"
    finish(given, server, tmp_path / "root")
    require_asked_once(server.requests(), [])
    require_equal(spark, quiet[0], tmp_path / "root")


@pytest.mark.parametrize(
    ("words", "master", "count"),
    [
        (WORKER, "local[2,4]", WORKER_KILLS),
        ("CoarseGrainedExecutorBackend", "local-cluster[2,1,1024]", EXECUTOR_KILLS),
    ],
)
def test_workers_and_executors_are_killed_at_random_moments(
    spark: SparkSession,
    given: list[str],
    quiet: tuple[Path, Course],
    server: FakeServer,
    tmp_path: Path,
    words: str,
    master: str,
    count: int,
) -> None:
    """Spark tries the task again, and the run ends well by itself."""
    chance, kills = random.Random(count), list[tuple[float, float]]()
    with Job(tmp_path / "root", [*given, *teacher(server.base_url)], master=master) as job:
        for moment in quiet[1].moments(chance, count):
            job.wait_for(lambda moment=moment: quiet[1].past(moment, job))
            time.sleep(chance.uniform(0.0, 1.5))
            job.wait_for(lambda: killed_one(job, words, chance, kills))
        assert job.end() == 0, job.said[-5000:]
    assert len(kills) == count
    require_asked_once(server.requests(), kills)
    require_equal(spark, quiet[0], tmp_path / "root")


def killed_one(job: Job, words: str, chance: random.Random, kills: list[tuple[float, float]]) -> bool:
    """Whether there was one to kill: any executor, or a Python worker that is at work."""
    with noted(kills):
        found = job.kill_one(words, working(chance) if words == WORKER else chance.choice)
    if not found:
        kills.pop()
    return found


def finish(given: list[str], server: FakeServer, root: Path) -> None:
    """The run after the crash: nothing has to be done but to run again."""
    with Job(root, [*given, *teacher(server.base_url)]) as job:
        assert job.end() == 0, job.said[-5000:]
        assert "Traceback" not in job.said
    assert not (root / "_lock").exists()
