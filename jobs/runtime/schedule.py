"""Runs steps in the order their tables demand, two at a time: while one is planned, the other's tasks run.

Conversations and documents go their own ways until the classifier, and a short stage is mostly planning, which
keeps one core at most. It knows tables by name only; what a step does is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

AT_ONCE = 2  # there are two ways; executors are filled by tasks, not by stages


@dataclass(frozen=True)
class Step:
    """Something to run, with the tables it reads and writes."""

    reads: frozenset[str]
    writes: frozenset[str]
    run: Callable[[], object]


def run_steps(steps: Sequence[Step], check: Callable[[], None]) -> None:
    """Run each step once every earlier step that writes a table it reads has ended.

    `check` is called before steps begin and may raise. After an error no further step begins; those that run are
    waited for, then the error is raised.
    """
    waiting, running = list(steps), dict[Future[object], Step]()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stage") as threads:
        while waiting or running:
            check()
            for step in list(_ready(waiting, running.values()))[: AT_ONCE - len(running)]:
                waiting.remove(step)
                running[threads.submit(step.run)] = step
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                del running[future]
                future.result()


def _ready(waiting: Sequence[Step], running: Iterable[Step]) -> Iterator[Step]:
    """The waiting steps that read nothing which a running or an earlier waiting step still writes."""
    unfinished = set[str]().union(*(step.writes for step in running))
    for step in waiting:
        if not unfinished & step.reads:
            yield step
        unfinished |= step.writes
