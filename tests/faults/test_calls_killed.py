"""Fifty SIGKILLs of driver, Python workers and server over full runs in which one request in five meets a fault.

The tables are those of a run that nothing but the faults disturbed, no answered request is sent again but those in
flight at a kill, and the run after the last one sends nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.faults.account import Kills, noted, require_equal
from tests.faults.corpus import teacher, write_corpus
from tests.faults.job import WORKER, Job, calling
from tests.faults.service import FAULTS, Service

pytestmark = [pytest.mark.spark, pytest.mark.faults, pytest.mark.timeout(7200)]

KILLS = {"driver": 25, "worker": 15, "server": 10}
RESUMABLE = {4, 6}  # rows wait for a server that was away, or too many calls in a row found none


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def quiet(given: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that meets the faults and nothing else."""
    folder = tmp_path_factory.mktemp("quiet")
    service = Service(folder / "log", 0.0)
    finish(folder / "root", given, service)
    service.require_asked_once([])
    assert len(service.met & FAULTS.keys()) >= 6, f"the faults were hardly met: {service.met}"
    service.close()
    return folder / "root"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "log", 0.3)
    yield running
    running.close()


def test_fifty_kills_over_full_runs(
    spark: SparkSession, given: list[str], quiet: Path, service: Service, tmp_path: Path
) -> None:
    chance = random.Random(6)
    plan = [who for who, times in KILLS.items() for _ in range(times)]
    chance.shuffle(plan)
    number = 0
    while plan:
        number += 1
        root, kills, before = tmp_path / f"root{number}", Kills(), service.answered
        disturb(root, given, service, plan, kills, chance)
        finish(root, given, service)
        service.require_asked_once(kills)
        require_equal(spark, quiet, root)
        assert service.answered > before, "each root pays for itself"
        (tmp_path / "log").write_text("")  # the next root asks the same
    print(f"50 kills over {number} roots")


def disturb(
    root: Path, given: list[str], service: Service, plan: list[str], kills: Kills, chance: random.Random
) -> None:
    """Runs on `root` with one kill after the other, until a run ends well or the plan is used up."""
    reached = 0
    while plan:
        with Job(root, [*given, *teacher(service.base_url)]) as job:
            while plan and job.process.poll() is None:
                reached += chance.randrange(5)
                if not job.wait_for(lambda least=reached: (root / "_lock").exists() and job.progress() >= least):
                    break
                time.sleep(chance.uniform(0.0, 2.0))
                who = plan.pop()
                with noted(kills):
                    done = kill(who, job, service, chance)
                if not done:  # no Python worker at that moment: later
                    kills.pop()
                    plan.insert(0, who)
                elif who == "driver":
                    reached = 0
                    break
            if not plan:
                return
            if job.process.poll() is not None and job.end() != 137:
                assert job.end() in {0, *RESUMABLE}, job.said[-5000:]
                assert "Traceback" not in job.said, job.said
                if job.end() == 0:
                    return
                reached = 0


def kill(who: str, job: Job, service: Service, chance: random.Random) -> bool:
    """SIGKILL for one of them; False when there was none."""
    if who == "driver":
        alive = job.process.poll() is None
        job.kill()
        return alive
    if who == "server":
        service.restart(chance.uniform(0.0, 3.0))
        return True
    return job.kill_one(WORKER, calling(service.port)) or job.kill_one(WORKER, chance.choice)


def finish(root: Path, given: list[str], service: Service) -> None:
    """Nothing has to be done but to run again; the run after that sends nothing."""
    for _ in range(6):
        status = ended(root, given, service)
        if status == 0:
            break
        assert status in RESUMABLE
    assert status == 0, "six runs did not bring it to its end"
    before = service.answered
    assert ended(root, given, service) == 0
    assert service.answered == before, "nothing is new, so nothing is asked"


def ended(root: Path, given: list[str], service: Service) -> int:
    with Job(root, [*given, *teacher(service.base_url)]) as job:
        status = job.end()
        assert "Traceback" not in job.said, job.said[-5000:]
    return status
