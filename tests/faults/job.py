"""The main job as real processes, in a session of their own: started, watched, signalled, killed by parts."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
SUBMIT = Path(sys.prefix) / "bin" / "spark-submit"
MAIN_JOB = REPOSITORY / "jobs" / "synthesize.py"
WORKER = "pyspark.worker"  # in the command line of Python workers, and of the process that they are forked from
REPORTED = re.compile(r"^(\w+) +[\d,]+ in +[\d,]+ kept ", re.MULTILINE)  # a stage, the moment it has ended
Pick = Callable[[list[psutil.Process]], psutil.Process | None]
DIES = Path(__file__).with_name("dies.py")
WATCHED_S = 0.05  # how long a process is watched to tell whether it works
SLACK_S = 900.0  # no process of these tests lives longer, whatever happens


class Job:
    """One run of the main job on `root`; everything it prints goes to one file."""

    def __init__(
        self,
        root: Path,
        given: Sequence[str],
        *choices: str,
        master: str = "local[2,4]",
        entry: Path = MAIN_JOB,
        log: Path | None = None,
        folder: Path | None = None,
        **environment: str,
    ) -> None:
        self._said = log or root.parent / f"{root.name}.{time.monotonic_ns()}.log"
        command = [str(SUBMIT), "--master", master, "--conf", "spark.executor.memory=1g", str(entry)]
        command += ["--root", str(root), *choices]
        for override in given:
            command += ["--set", override]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,  # its processes can be told from all others
                env={**os.environ, **environment},
            )
        self._until = time.monotonic() + SLACK_S

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def reported(self) -> list[str]:
        """The stages whose executions it has reported, in that order."""
        return REPORTED.findall(self.said)

    def progress(self) -> int:
        """How many executions of stages it has reported."""
        return len(self.reported())

    def wait_for(self, condition: Callable[..., object]) -> bool:
        """Until the condition holds (True) or the job has ended (False)."""
        while self.process.poll() is None:
            if condition():
                return True
            assert time.monotonic() < self._until, self.said[-3000:]
            time.sleep(0.05)
        return False

    def end(self) -> int:
        """Wait for it; its exit status as a shell tells it."""
        status = self.process.wait(timeout=max(1.0, self._until - time.monotonic()))
        return 128 - status if status < 0 else status

    def signal(self, number: signal.Signals) -> None:
        """As a scheduler does it: to the process it started."""
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """As a terminal does it for Ctrl-C: to the whole group in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL for driver and JVM; Python workers find out by themselves."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_one(self, words: str, pick: Pick) -> bool:
        """SIGKILL for one of its processes with these words in the command line; False when there is none to pick."""
        found = self.workers() if words == WORKER else [one for one in self._others() if words in said_by(one)]
        try:
            picked = pick(found) if found else None
            if picked is not None:
                picked.kill()
            return picked is not None
        except psutil.NoSuchProcess:  # it ended meanwhile
            return False

    def workers(self) -> list[psutil.Process]:
        """Its Python workers: those that were forked, not the process that they are forked from.

        That one has their command line too, and the smallest number, and lives through whatever befalls a worker.
        """
        alike = [process for process in self._others() if WORKER in said_by(process)]
        numbers = {process.pid for process in alike}
        return [process for process in alike if process.info["ppid"] in numbers]

    def _others(self) -> list[psutil.Process]:
        """All processes of its session, by number."""
        mine = []
        for process in psutil.process_iter(["cmdline", "ppid"]):
            try:
                if os.getsid(process.pid) == self.process.pid and process.info["cmdline"]:
                    mine.append(process)
            except (ProcessLookupError, psutil.Error):
                continue
        return mine


class Course:
    """The stages of a whole run in the order in which they ended: to tell how far another run on such a root is."""

    def __init__(self, reported: Sequence[str]) -> None:
        self.stages = list(dict.fromkeys(reported))

    def moments(self, chance: random.Random, count: int) -> list[int]:
        """Points of a run by chance, in their order: how many of its stages have ended then, never all of them."""
        return sorted(chance.randrange(len(self.stages)) for _ in range(count))

    def past(self, moment: int, job: Job) -> bool:
        """Whether the job is there: what was done before it was begun again may not be reported once more."""
        return not moment or not set(self.stages[moment - 1 :]).isdisjoint(job.reported())


def said_by(process: psutil.Process) -> str:
    """The command line it was found with."""
    return " ".join(process.info["cmdline"])


def calling(port: int) -> Pick:
    """The first that holds a connection to this port; most workers of a run are idle."""
    return lambda found: next((one for one in found if port in (end.port for end in ends_of(one))), None)


def working(chance: random.Random) -> Pick:
    """One of those that use the processor just now, by chance."""

    def pick(found: list[psutil.Process]) -> psutil.Process | None:
        for process in chance.sample(found, len(found)):
            with suppress(psutil.NoSuchProcess):
                if process.cpu_percent(WATCHED_S) > 0.0:
                    return process
        return None

    return pick


def ends_of(process: psutil.Process) -> list[Any]:
    """The other ends of its connections."""
    return [connection.raddr for connection in process.net_connections("tcp") if connection.raddr]
