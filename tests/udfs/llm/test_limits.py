"""Limits as plain arithmetic: rates over any window, calls at once, money, expectations; time is a number here."""

from __future__ import annotations

import heapq
import random
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.llm.budget import Budget
from udfs.llm.concurrency import AdaptiveLimit
from udfs.llm.expectation import Expectation
from udfs.llm.gate import Gate
from udfs.llm.rates import RateLimit
from udfs.llm.teacher import ErrorKind, Limits


def most_in_any_window(sent: list[tuple[float, float]], seconds: float) -> float:
    """The largest sum of costs within any window, by trying each that begins with an entry."""
    return max(sum(cost for at, cost in sent if start <= at < start + seconds) for start, _ in sent)


@given(costs=st.lists(st.floats(0.5, 60), min_size=1, max_size=120), limit=st.floats(60, 200))
def test_no_window_holds_more_than_the_limit_and_most_of_it_is_used(costs: list[float], limit: float) -> None:
    rate, now, sent = RateLimit(limit, 60.0), 1_000.0, []
    for cost in costs:
        now = max(now, rate.ready_at(now, cost))
        assert rate.ready_at(now, cost) <= now
        rate.take(now, cost)
        sent.append((now, cost))
    assert most_in_any_window(sent, 60.0) <= limit * (1 + 1e-9)


def test_a_rate_is_used_evenly_and_nearly_whole() -> None:
    rate, now, sent = RateLimit(600, 60.0), 0.0, []
    while now < 300:
        now = rate.ready_at(now, 1)
        rate.take(now, 1)
        sent.append((now, 1.0))
    assert len(sent) >= 0.95 * 600 * 5
    assert sum(at < 5 for at, _ in sent) <= 5 * 10 + 10 + 1, "no minute's worth at the start"


def test_replies_put_estimates_right() -> None:
    rate = RateLimit(1_000, 60.0)
    entry = rate.take(0.0, 900)
    assert rate.ready_at(1.0, 500) > 60
    rate.correct(entry, 100)
    assert rate.ready_at(10.0, 500) == 10.0
    assert rate.ready_at(10.0, 5_000) < 70, "what never fits goes when nothing else does"
    assert RateLimit(0, 60.0).ready_at(3.0, 10**9) == 3.0


class Server:
    """At most `capacity` calls at once, of about `alone` seconds; more queue. A share takes ten times as long."""

    def __init__(self, capacity: int, alone: float, tail: float = 0.0, refuses_at: int = 10**9) -> None:
        self.capacity, self.alone, self.tail, self.refuses_at = capacity, alone, tail, refuses_at
        self.draws = random.Random(3)

    def run(self, limit: AdaptiveLimit, seconds: float) -> list[int]:
        """Open calls over time, as many as the limit admits."""
        events: list[tuple[float, int, float, ErrorKind | None]] = []
        free = [0.0] * self.capacity
        number, now, seen = count(), 0.0, []
        while now < seconds:
            while not limit.full:
                if limit.in_flight >= self.refuses_at:
                    heapq.heappush(events, (now + 0.02, next(number), now, ErrorKind.RATE_LIMITED))
                else:
                    begins = max(now, heapq.heappop(free))
                    takes = self.alone * self.draws.uniform(0.7, 1.3) * (10 if self.draws.random() < self.tail else 1)
                    heapq.heappush(free, begins + takes)
                    heapq.heappush(events, (begins + takes, next(number), now, None))
                limit.enter(now)
            now, _, began, kind = heapq.heappop(events)
            limit.leave(now, "stage", kind, now - began)
            seen.append(limit.limit)
        return seen[len(seen) // 2 :]


def adaptive(most: int) -> AdaptiveLimit:
    limit = AdaptiveLimit()
    limit.most = most
    return limit


def test_calls_grow_to_all_there_is_room_for_while_the_server_keeps_up() -> None:
    limit = adaptive(512)
    seen = Server(10_000, 0.5, tail=0.1).run(limit, 30.0)
    assert min(seen) == 512, "one slow reply in ten is no overload"


def test_latency_alone_tells_that_calls_queue() -> None:
    seen = Server(64, 0.5).run(adaptive(2_000), 120.0)
    assert 64 <= sum(seen) / len(seen) <= 3 * 64


def test_refusals_tell_that_there_are_too_many() -> None:
    seen = Server(10_000, 0.5, refuses_at=100).run(adaptive(2_000), 120.0)
    assert 60 <= sum(seen) / len(seen) <= 160


def test_work_that_takes_longer_is_no_overload() -> None:
    limit = adaptive(64)
    Server(10_000, 0.2).run(limit, 20.0)
    limit.in_flight = 0
    assert min(Server(10_000, 2.0).run(limit, 200.0)) >= 60, "fewer calls were no faster, so it was not our queue"


def test_the_gate_takes_the_smaller_of_what_is_set_and_what_is_granted() -> None:
    gate: Gate[None] = Gate(0, 10_000, 60.0)
    gate.open_calls.most = 100
    assert gate.ready_at(0.0, 900) == 0.0
    gate.told(Limits(requests=60, tokens=100_000))
    gate.enter(0.0, 10)
    gate.enter(0.0, 10)
    assert gate.ready_at(0.0, 10) == pytest.approx(1.0, abs=0.3), "a request a second"
    large = gate.enter(1.0, 9_900)
    assert (gate.ready_at(2.0, 500) or 0) > 60
    gate.leave(3.0, large, "s", ErrorKind.RATE_LIMITED, 1.0, 100, retry_after=20.0)
    assert gate.ready_at(3.0, 500) == 23.0


def test_a_budget_of_calls_is_exact() -> None:
    budget = Budget(calls=3, usd=0)
    for _ in range(3):
        assert budget.verdict(1.0) == "go"
        budget.enter(1.0)
    assert budget.verdict(0.0) == "stop" and "budget_calls: 3" in str(budget.used_up)


def test_a_budget_of_money_waits_for_replies_before_it_stops() -> None:
    budget = Budget(calls=0, usd=1.0)
    budget.enter(0.6)
    assert budget.verdict(0.6) == "wait", "the one in flight may turn out cheaper"
    budget.leave(0.6, 0.3)
    assert budget.verdict(0.6) == "go"
    budget.enter(0.6)
    budget.leave(0.6, 0.6)
    assert budget.verdict(0.2) == "stop" and budget.spent == pytest.approx(0.9)
    assert budget.verdict(0.0) == "stop", "once is for ever"


def test_expectations_follow_what_the_server_meters() -> None:
    expected = Expectation()
    assert (expected.tokens_in(300), expected.tokens_out(4_096)) == (101, 4_096)
    for number in range(400):
        expected.learn(1_000, 250, 100 if number % 2 else 300)
    assert expected.tokens_in(1_000) == pytest.approx(250, abs=2)
    assert 290 <= expected.tokens_out(4_096) <= 310 and expected.tokens_out(150) == 150
