"""Retries: which faults are tried again, how often, and after how long."""

from __future__ import annotations

import pytest

from udfs.llm.retry import RetryPolicy
from udfs.llm.teacher import FATAL, LASTING, PASSING, ErrorKind, Reply, failed, status_of


def test_every_kind_has_exactly_one_fate() -> None:
    assert frozenset(ErrorKind) == PASSING | LASTING | FATAL
    assert not (PASSING & LASTING or PASSING & FATAL or LASTING & FATAL)
    assert {status_of(kind) for kind in ErrorKind} == {"passing", "lasting", "fatal"}


@pytest.mark.parametrize(
    ("kind", "tries"),
    [
        (ErrorKind.RATE_LIMITED, 4),
        (ErrorKind.SERVER, 3),
        (ErrorKind.CONNECTION, 3),
        (ErrorKind.TIMEOUT, 2),
        (ErrorKind.BUDGET, 1),
        (ErrorKind.REFUSAL, 1),
        (ErrorKind.QUOTA, 1),
    ],
)
def test_tries_per_kind(kind: ErrorKind, tries: int) -> None:
    waits = [RetryPolicy().wait_before(attempt, failed(kind, "x"), "key") for attempt in range(1, 6)]
    assert [wait is not None for wait in waits] == [attempt < tries for attempt in range(1, 6)]


def test_waits_double_within_their_jitter_and_differ_by_key() -> None:
    reply = failed(ErrorKind.RATE_LIMITED, "x")
    for attempt, plain in ((1, 0.5), (2, 1.0), (3, 2.0)):
        waits = {RetryPolicy().wait_before(attempt, reply, f"key-{n}") for n in range(50)}
        assert len(waits) > 20
        assert all(wait is not None and 0.75 * plain <= wait <= 1.25 * plain for wait in waits)


def test_retry_after_is_a_floor_and_too_long_a_wait_is_no_wait() -> None:
    def wait(seconds: float) -> float | None:
        return RetryPolicy().wait_before(1, failed(ErrorKind.RATE_LIMITED, "x", retry_after=seconds), "k")

    assert 7.0 <= (wait(7.0) or 0) <= 7.7
    assert wait(60.0) is not None and wait(61.0) is None
    assert RetryPolicy().wait_before(1, Reply("ok", text="t"), "k") is None
