"""CPU seconds and peak memory of this process, of Spark's JVM and of its Python workers, read from /proc."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
WORKERS = ("pyspark.daemon", "udfs.worker_daemon")  # what Python workers are forked from


@dataclass(frozen=True)
class Process:
    """One running process: CPU seconds of its own, when it began (ticks), resident bytes."""

    pid: int
    parent: int
    name: str
    cpu: float
    began: int
    resident: int


def running() -> dict[int, Process]:
    """All processes of this machine; those that end while we look are left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            cpu, pid = sum(map(int, rest[11:13])) / TICKS, int(entry.name)
            found[pid] = Process(pid, int(rest[1]), name, cpu, int(rest[19]), int(rest[21]) * PAGE)
    return found


def descendants(pid: int) -> list[Process]:
    """The processes below this one, in no order."""
    every = running()
    below, known = [], {pid}
    while grown := [p for p in every.values() if p.parent in known and p.pid not in known]:
        known |= {p.pid for p in grown}
        below += grown
    return below


class Meter(threading.Thread):
    """CPU seconds of the JVM and its Python workers over some minutes, those that end meanwhile included.

    Spark ends workers that were idle for a minute, and not every process waits for what it started: the seconds of such
    a worker are in nobody's sum of ended children.
    """

    def __init__(self, every: float = 0.2) -> None:
        super().__init__(daemon=True)
        self._every, self._going, self._spent = every, True, dict[tuple[int, int], float]()

    def __enter__(self) -> Meter:
        self._look()
        self._before = self.so_far()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        self.join()
        self._look()
        self.seconds = self.so_far() - self._before

    def run(self) -> None:
        while self._going:
            time.sleep(self._every)
            self._look()

    def so_far(self) -> float:
        return sum(self._spent.values())

    def _look(self) -> None:
        self._spent |= {(process.pid, process.began): process.cpu for process in descendants(os.getpid())}


@dataclass
class Peaks:
    """Largest memory seen in bytes: the driver (JVM and Python together), the largest Python worker, all of them.

    Pages that forked workers share count in parts, so that the sum is what the machine gave.
    """

    driver: int = 0
    worker: int = 0
    workers: int = 0

    def look(self, pid: int) -> None:
        """Take one sample of the job that is process `pid`, or was started by it."""
        job = [pid, *(process.pid for process in descendants(pid))]
        arguments = {each: command(each) for each in job}  # before sizes: one that ends in between counts as nothing
        held = {each: share(each) for each in job}
        workers = [held[each] for each in job if is_worker(arguments[each])]
        self.driver = max(self.driver, sum(held.values()) - sum(workers))
        self.worker = max([self.worker, *workers])
        self.workers = max(self.workers, sum(workers))


def share(pid: int) -> int:
    """Bytes of a process, shared pages divided among those that share them; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def command(pid: int) -> list[str]:
    """A process's command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return []


def is_worker(arguments: Sequence[str]) -> bool:
    """Whether Python runs a module of WORKERS; the JVM's settings name it too."""
    return any(flag == "-m" and name in WORKERS for flag, name in pairwise(arguments))


class Watch(threading.Thread):
    """Samples the memory of a job until it is stopped; `take` hands out the peaks since the last take."""

    def __init__(self, pid: int, every: float = 0.5) -> None:
        super().__init__(daemon=True)
        self.pid, self.every, self.peaks, self.going = pid, every, Peaks(), True

    def run(self) -> None:
        while self.going:
            self.peaks.look(self.pid)
            time.sleep(self.every)

    def take(self) -> Peaks:
        """Peaks since the last call."""
        taken, self.peaks = self.peaks, Peaks()
        return taken

    def stop(self) -> None:
        self.going = False
        self.join()
