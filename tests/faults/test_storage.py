"""Storage that is full, read-only or taken: one sentence, the right exit status, and the next run continues."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.fake_server.client import FakeServer
from tests.faults.account import TRACES, require_equal
from tests.faults.corpus import teacher, write_corpus
from tests.faults.job import Job

pytestmark = [pytest.mark.spark, pytest.mark.faults]

LAST = "meta_records"
STAGES_OF_META_RECORDS = 5  # its own, and before it conversations and documents, as they came and the long ones
SCRATCH_KIB = 256


class Disk:
    """A small file system of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()

    def mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "longloom-tests", str(self.place)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    if not (sys.platform == "linux" and made.mount("size=1m")):
        pytest.skip("a small file system can only be mounted by root on Linux")
    yield made
    made.unmount()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def quiet(spark: SparkSession, given: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("roots") / "quiet"
    settings = load_settings(None, given, str(root))
    assert Synthesis(spark, settings, STAGES, Choices(until=LAST)).run() == 0
    return root


@pytest.fixture(scope="module")
def asking(given: list[str]) -> Iterator[list[str]]:
    """The settings with a teacher whose labels carry the job to its end."""
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"]) as server:
        yield [*given, *teacher(server.base_url)]


@pytest.fixture(scope="module")
def whole(asking: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("roots") / "whole"
    with Job(root, asking) as job:
        assert job.end() == 0, job.said
    return root


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*"))


@pytest.mark.parametrize("share", [0.05, 0.4, 0.6, 0.8])
def test_a_full_disk(spark: SparkSession, given: list[str], quiet: Path, disk: Disk, share: float) -> None:
    """Room for a part of what the run writes: it is full in MLflow's database, or in the middle of the stages."""
    assert disk.mount(f"remount,size={int(needed(quiet) * share)}k")
    root = disk.place / "root"
    log = disk.place.with_suffix(".log")  # on another disk
    with Job(root, given, "--until", LAST, log=log) as job:
        require_full(job)
    assert disk.mount("remount,size=500m")
    with Job(root, given, "--until", LAST, log=log) as job:
        assert job.end() == 0, job.said
    require_equal(spark, quiet, root, LAST)


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9])
def test_a_disk_that_fills_late(spark: SparkSession, asking: list[str], whole: Path, disk: Disk, share: float) -> None:
    """It is full after the records were extracted: while types, graphs, walks or samples are made, or the account."""
    assert disk.mount(f"remount,size={int(needed(whole) * share)}k")
    root, log = disk.place / "root", disk.place.with_suffix(".log")
    with Job(root, asking, log=log) as job:
        require_full(job)
        assert job.progress() > STAGES_OF_META_RECORDS, job.said
    assert disk.mount("remount,size=500m")
    with Job(root, asking, log=log) as job:
        assert job.end() == 0, job.said
    require_equal(spark, whole, root)


def test_a_full_scratch_space(spark: SparkSession, asking: list[str], whole: Path, disk: Disk, tmp_path: Path) -> None:
    """Spark's own files lie on another disk than the root; the root keeps what was committed."""
    assert disk.mount(f"remount,size={SCRATCH_KIB}k")
    root = tmp_path / "root"
    with Job(root, asking, SPARK_LOCAL_DIRS=str(disk.place)) as job:
        require_full(job)
    with Job(root, asking) as job:
        assert job.end() == 0, job.said
    require_equal(spark, whole, root)


def needed(root: Path) -> int:
    """KiB that the files of a root take, in whole pages; folders take none where it is tried."""
    return sum(-(-path.stat().st_size // 4096) * 4 for path in files(root) if path.is_file())


def require_full(job: Job) -> None:
    """It ends with the status of a stop and one sentence that says why and what to do."""
    assert job.end() == 6, job.said
    assert not TRACES.search(job.said), job.said
    told = [line for line in job.said.splitlines() if line.startswith("longloom:")]
    assert len(told) == 1 and "is full" in told[0] and "run again" in told[0], job.said


def test_a_read_only_root(given: list[str], disk: Disk) -> None:
    assert disk.mount("remount,ro")
    with Job(disk.place / "root", given, "--until", LAST, log=disk.place.with_suffix(".log")) as job:
        assert job.end() == 2, job.said
    assert not TRACES.search(job.said), job.said
    assert "cannot be written to" in job.said and "choose another --root" in job.said
    assert files(disk.place) == []


def test_a_root_below_a_file(given: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Job(tmp_path / "file" / "root", given, log=tmp_path / "said.log") as job:
        assert job.end() == 2, job.said
    assert "is a file, not a folder" in job.said and not TRACES.search(job.said)


def test_two_runs_on_one_root(given: list[str], tmp_path: Path) -> None:
    """The second names host, process and start of the first, and leaves it alone.

    The first waits for its answers meanwhile: on a busy machine the second takes minutes to get as far as the lock.
    """
    with FakeServer(key=os.environ["FAKE_KEY"], latency=20.0) as server:
        asking = [*given, *teacher(server.base_url, concurrency=1)]
        with Job(tmp_path / "root", asking, "--until", LAST) as first:
            assert first.wait_for(server.requests), first.said
            with Job(tmp_path / "root", asking, "--until", LAST) as second:
                assert second.end() == 5, second.said
            named = re.search(r"process (\d+) on (\S+), started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", second.said)
            assert named and named[2].rstrip(",") == socket.gethostname(), second.said
            assert os.getsid(int(named[1])) == first.process.pid
            assert not TRACES.search(second.said), second.said
            server.change(latency=0.0)
            assert first.end() == 0, first.said
