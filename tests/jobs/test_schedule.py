"""Steps wait for the tables they read, run beside each other where they can, and stop at the first error."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.runtime.schedule import Step, run_steps


def nothing() -> None:
    return


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7), min_size=1)), max_size=8))
def test_a_step_begins_when_all_it_reads_is_written(plan: list[tuple[set[int], set[int]]]) -> None:
    told: list[tuple[str, int]] = []

    def run(number: int) -> None:
        told.append(("begins", number))
        told.append(("ends", number))

    steps = [
        Step(frozenset(map(str, reads)), frozenset(map(str, writes)), lambda number=number: run(number))
        for number, (reads, writes) in enumerate(plan)
    ]
    run_steps(steps, nothing)
    assert sorted(told) == sorted((what, n) for n in range(len(plan)) for what in ("begins", "ends"))
    for later, (reads, _) in enumerate(plan):
        for earlier in range(later):
            if plan[earlier][1] & reads:
                assert told.index(("ends", earlier)) < told.index(("begins", later))


def test_two_ways_run_beside_each_other() -> None:
    """Each of the two waits for the other to have begun: one after the other they would never end."""
    meeting = threading.Barrier(2, timeout=10)
    met = Step(frozenset(), frozenset({"a"}), meeting.wait), Step(frozenset(), frozenset({"b"}), meeting.wait)
    run_steps(met, nothing)
    assert not meeting.broken


def test_nothing_begins_after_an_error_and_what_runs_is_waited_for() -> None:
    failed, ended = threading.Event(), []

    def fail() -> None:
        failed.set()
        raise ValueError("the first to fail")

    def slow() -> None:
        failed.wait(10)
        ended.append("slow")

    steps = [
        Step(frozenset(), frozenset({"a"}), fail),
        Step(frozenset(), frozenset({"b"}), slow),
        Step(frozenset({"a"}), frozenset({"c"}), lambda: ended.append("never")),
    ]
    with pytest.raises(ValueError, match="the first to fail"):
        run_steps(steps, nothing)
    assert ended == ["slow"]


def test_told_to_stop_nothing_begins() -> None:
    def told() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps([Step(frozenset(), frozenset(), lambda: pytest.fail("it began"))], told)
