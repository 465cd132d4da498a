"""A submitted run that is told to stop: no traceback of Python or Java, the lock is free, the next run continues."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.errors import Interrupted
from jobs.runtime.stopping import Stop
from tests.fake_server.client import FakeServer
from tests.faults.account import TRACES, noted, require_asked_once
from tests.faults.corpus import teacher, write_corpus
from tests.faults.job import Job

pytestmark = pytest.mark.spark

UNTIL = ("--until", "meta_records")


@pytest.mark.faults
@pytest.mark.parametrize("how", ["term", "interrupt"])
def test_a_run_in_the_middle_of_its_calls(tmp_path: Path, how: str) -> None:
    given = write_corpus(tmp_path)
    with FakeServer(key=os.environ["FAKE_KEY"], latency=1.0) as server:
        given += teacher(server.base_url, concurrency=1)
        with Job(tmp_path / "root", given, *UNTIL) as job:
            assert job.wait_for(lambda: any(request["answered"] for request in server.requests())), job.said
            told = list[tuple[float, float]]()
            with noted(told):
                if how == "term":
                    job.signal(signal.SIGTERM)
                else:
                    job.interrupt()
                status = job.end()
        assert status == (143 if how == "term" else 130), job.said
        assert not TRACES.search(job.said), job.said
        assert "what is done stays, and the next run continues" in job.said
        assert not (tmp_path / "root" / "_lock").exists()
        server.change(latency=0.0)
        with Job(tmp_path / "root", given, *UNTIL) as job:
            assert job.end() == 0, job.said
        require_asked_once(server.requests(), told)


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.0, 6.0, 9.0])
def test_a_run_that_has_hardly_begun(tmp_path: Path, seconds: float) -> None:
    """The launcher, the JVM, the session, the first look at the inputs."""
    with Job(tmp_path / "root", write_corpus(tmp_path), *UNTIL) as job:
        time.sleep(seconds)
        job.signal(signal.SIGTERM)
        assert job.end() == 143, job.said
    assert not TRACES.search(job.said), job.said
    assert not (tmp_path / "root" / "_lock").exists()


@pytest.mark.faults
@pytest.mark.parametrize("at", ["in a pass", "between two passes"])
def test_a_continuous_run(tmp_path: Path, at: str) -> None:
    given = write_corpus(tmp_path)
    with FakeServer(key=os.environ["FAKE_KEY"], latency=1.0) as server:
        given += teacher(server.base_url, concurrency=1)
        with Job(tmp_path / "root", given, *UNTIL, "--continuous", "600") as job:
            if at == "in a pass":
                assert job.wait_for(server.requests)
            else:
                assert job.wait_for(lambda: "meta_records  " in job.said), job.said
                time.sleep(3.0)
            job.signal(signal.SIGTERM)
            assert job.end() == 143, job.said
        assert not TRACES.search(job.said), job.said
        assert not (tmp_path / "root" / "_lock").exists()
        with Job(tmp_path / "root", given, *UNTIL) as job:
            assert job.end() == 0, job.said


def test_jobs_fail_and_the_reason_is_raised(spark: SparkSession) -> None:
    """In this process: a signal ends a job that would run for minutes, and the session stays usable."""

    def slow(batches):  # type: ignore[no-untyped-def]
        import time

        time.sleep(120)
        yield from batches

    started = time.monotonic()
    try:
        with Stop(spark.sparkContext) as stop:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            signal.alarm(2)
            with pytest.raises(Interrupted, match="SIGTERM") as caught, stop.interruptible():
                spark.range(4).mapInArrow(slow, "id long").count()
            assert caught.value.exit_status == 143
            with pytest.raises(Interrupted):
                stop.check()
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        spark.sparkContext.setLogLevel("WARN")
    assert time.monotonic() - started < 60
    assert spark.range(3).count() == 3
