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
from tests.faults.job import WORKER, Course, Job, calling, working
from tests.faults.service import FAULTS, Service

pytestmark = [pytest.mark.spark, pytest.mark.faults, pytest.mark.timeout(7200)]

KILLS = {"driver": 25, "worker": 15, "server": 10}
MOST_PER_RUN = 4  # of one run: with more, hardly one would come to its end
RESUMABLE = {4, 6}  # rows wait for a server that was away, or too many calls in a row found none


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def quiet(given: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Course]:
    """The root of a run that meets the faults and nothing else, and the course that the run took."""
    folder = tmp_path_factory.mktemp("quiet")
    service = Service(folder / "log", 0.0)
    course = finish(folder / "root", given, service)
    service.require_asked_once([])
    assert len(service.met & FAULTS.keys()) >= 6, f"the faults were hardly met: {service.met}"
    service.close()
    return folder / "root", course


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "log", 0.3)
    yield running
    running.close()


def test_fifty_kills_over_full_runs(
    spark: SparkSession, given: list[str], quiet: tuple[Path, Course], service: Service, tmp_path: Path
) -> None:
    chance = random.Random(6)
    plan = [who for who, times in KILLS.items() for _ in range(times)]
    chance.shuffle(plan)
    number = 0
    while plan:
        number += 1
        root, kills, before = tmp_path / f"root{number}", Kills(), service.answered
        disturb(root, given, service, quiet[1], plan, kills, chance)
        finish(root, given, service)
        service.require_asked_once(kills)
        require_equal(spark, quiet[0], root)
        assert service.answered > before, "each root pays for itself"
        (tmp_path / "log").write_text("")  # the next root asks the same
    print(f"50 kills over {number} roots")


def disturb(
    root: Path,
    given: list[str],
    service: Service,
    course: Course,
    plan: list[str],
    kills: Kills,
    chance: random.Random,
) -> None:
    """Runs on `root`, each killed at points of its whole course, until one ends well or the plan is used up."""
    while plan:
        with Job(root, [*given, *teacher(service.base_url)]) as job:
            for moment in course.moments(chance, chance.randint(1, MOST_PER_RUN)):
                if not plan or not job.wait_for(lambda job=job, moment=moment: there(root, course, moment, job)):
                    break
                time.sleep(chance.uniform(0.0, 2.0))
                if killed_next(plan, job, service, kills, chance) == "driver":
                    break
            if job.end() != 137:
                assert job.end() in {0, *RESUMABLE}, job.said[-5000:]
                assert "Traceback" not in job.said, job.said
                if job.end() == 0:
                    return


def there(root: Path, course: Course, moment: int, job: Job) -> bool:
    return (root / "_lock").exists() and course.past(moment, job)


def killed_next(plan: list[str], job: Job, service: Service, kills: Kills, chance: random.Random) -> str:
    """Kill whose turn it is, and tell who it was; nobody where the job ends before a Python worker is at work."""
    who = plan.pop()

    def done() -> bool:
        with noted(kills):
            killed = kill(who, job, service, chance)
        if not killed:
            kills.pop()
        return killed

    if job.wait_for(done):
        return who
    plan.insert(0, who)
    return ""


def kill(who: str, job: Job, service: Service, chance: random.Random) -> bool:
    """SIGKILL for one of them; False when there was none."""
    if who == "driver":
        alive = job.process.poll() is None
        job.kill()
        return alive
    if who == "server":
        service.restart(chance.uniform(0.0, 3.0))
        return True
    return job.kill_one(WORKER, calling(service.port)) or job.kill_one(WORKER, working(chance))


def finish(root: Path, given: list[str], service: Service) -> Course:
    """Nothing has to be done but to run again; the run after that sends nothing. Tells what they reported."""
    reported = list[str]()
    for _ in range(6):
        status = ended(root, given, service, reported)
        if status == 0:
            break
        assert status in RESUMABLE
    assert status == 0, "six runs did not bring it to its end"
    before = service.answered
    assert ended(root, given, service, []) == 0
    assert service.answered == before, "nothing is new, so nothing is asked"
    return Course(reported)


def ended(root: Path, given: list[str], service: Service, reported: list[str]) -> int:
    """Its exit status; its stages are added to `reported`."""
    with Job(root, [*given, *teacher(service.base_url)]) as job:
        status = job.end()
        reported += job.reported()
        assert "Traceback" not in job.said, job.said[-5000:]
    return status
