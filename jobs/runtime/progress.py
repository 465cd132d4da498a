"""What a long stage is doing while it does it: one line that changes on a terminal, a plain line a minute in a log.

It looks at Spark's own counts of tasks and at finished calls in the spool; it touches neither rows nor tables.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote, urlsplit

from pyspark import SparkContext

from jobs.runtime.launch import TERMINAL
from udfs.llm.spool import list_segments

LIVE_S, LOG_S = 1.0, 60.0  # between two looks: on a terminal, in a log
SOON_S = 10.0  # a stage younger than this tells no remaining time
FEW_TASKS = 4  # nor do fewer tasks
CLEAR = "\r\x1b[K"


@dataclass(frozen=True)
class Tasks:
    """Tasks of the Spark stages that run now."""

    done: int = 0
    all: int = 0


@dataclass(frozen=True)
class Calls:
    """Calls of a stage: finished, those that it needs as far as known (0: not known), and what they cost."""

    done: int = 0
    all: int = 0
    usd: float | None = None  # None: nothing asked for money yet, or the price is not known
    saved: float = 0.0  # USD that the ledger and the prefix cache saved


class Progress:
    """Tells which stages run and how far they are; `say` prints a line without tearing the changing one."""

    def __init__(
        self,
        tasks: Callable[[], Tasks],
        calls: Callable[[str], Calls] = lambda stage: Calls(),
        environment: Mapping[str, str] | None = None,
        out: TextIO | None = None,
    ) -> None:
        told = (os.environ if environment is None else environment).get(TERMINAL, "")
        self._width = int(told) if told.isdigit() else 0  # 0: no terminal
        self._tasks, self._calls, self._out = tasks, calls, out or sys.stdout
        self._running: dict[str, float] = {}
        self._printing = threading.Lock()
        self._ended = threading.Event()

    def say(self, line: str) -> None:
        """A line that stays."""
        with self._printing:
            self._out.write(f"{CLEAR if self._width else ''}{line}\n")
            self._out.flush()

    @contextmanager
    def running(self, stage: str) -> Iterator[None]:
        """Count a stage among those that run."""
        self._running[stage] = time.monotonic()
        try:
            yield
        finally:
            del self._running[stage]

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell while the context lasts."""
        teller = threading.Thread(target=self._tell, daemon=True, name="progress")
        teller.start()
        try:
            yield
        finally:
            self._ended.set()
            teller.join(timeout=LIVE_S)
            if self._width:
                self._out.write(CLEAR)
                self._out.flush()

    def _tell(self) -> None:
        while not self._ended.wait(LIVE_S if self._width else LOG_S):
            line = self.line(time.monotonic())
            if line and self._width:
                with self._printing:
                    self._out.write(f"{CLEAR}{line[: self._width - 1]}")
                    self._out.flush()
            elif line:
                self.say(line)

    def line(self, now: float) -> str:
        """What runs now; empty when nothing does. In a log, stages that are not long yet are not told of."""
        shown = sorted(self._running.items(), key=lambda one: one[1])
        parts = [self._part(stage, now - since) for stage, since in shown if self._width or now - since >= LOG_S / 2]
        if not parts:
            return ""
        tasks = self._tasks()
        if tasks.all:
            parts.append(f"{tasks.done} of {tasks.all} tasks")
            age = now - shown[0][1]
            if tasks.done and tasks.all >= FEW_TASKS and age >= SOON_S:
                parts.append(f"about {_clock(age * (tasks.all - tasks.done) / tasks.done)} left of this step")
        return "… " + ", ".join(parts)

    def _part(self, stage: str, age: float) -> str:
        calls = self._calls(stage)
        if not calls.done or age <= 0:
            return f"{stage} {_clock(age)}"
        told = f"{stage} {_clock(age)} {calls.done:,}"
        told += f" of {calls.all:,} calls" if calls.all > calls.done else " calls"
        told += f" ({60 * calls.done / age:,.0f} a minute"
        if calls.all > calls.done and age >= SOON_S:
            told += f", about {_clock(age * (calls.all - calls.done) / calls.done)} left"
        told += ")" + (f" {calls.usd:,.2f} USD" if calls.usd else "")
        return told + (f", {calls.saved:,.2f} saved" if calls.usd is not None and calls.saved else "")


def spark_tasks(context: SparkContext) -> Callable[[], Tasks]:
    """Looks at the Spark stages that run now."""

    def look() -> Tasks:
        tracker = context.statusTracker()
        found = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        known = [one for one in found if one is not None]
        return Tasks(sum(one.numCompletedTasks for one in known), sum(one.numTasks for one in known))

    return look


def spooled_calls(spool: str) -> Callable[[str], int]:
    """Counts a stage's finished calls that are not in the ledger yet; 0 on storage that is slow to look at."""
    remote = "://" in spool

    def count(stage: str) -> int:
        if remote:
            return 0
        return sum(
            Path(unquote(urlsplit(one.url).path)).read_bytes().count(b"\n") for one in list_segments(spool, stage)
        )

    return count


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
