"""The gate before one model at one address: who may send next, and when.

Requests a minute, tokens a minute and calls at once are held together here for the whole run. It is told the time, and
neither waits nor talks to anybody.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from udfs.llm.concurrency import AdaptiveLimit
from udfs.llm.rates import Entry, RateLimit
from udfs.llm.teacher import ErrorKind, Limits

LONGEST_PAUSE = 60.0  # seconds; a server that asks for more refuses the next try again

Who = TypeVar("Who")


@dataclass
class Permit:
    """One try that was let through."""

    request: Entry
    tokens: Entry


class Gate(Generic[Who]):
    """Limits of one endpoint and model; `waiting` is served in order, so that nobody starves."""

    def __init__(self, requests: int, tokens: int, seconds: float) -> None:
        self._set = Limits(requests or None, tokens or None)
        self._requests = RateLimit(requests, seconds)
        self._tokens = RateLimit(tokens, seconds)
        self._paused_until = 0.0
        self.open_calls = AdaptiveLimit()
        self.waiting: deque[Who] = deque()

    def ready_at(self, now: float, tokens: int) -> float | None:
        """When a call of so many tokens may be sent; None while as many are open as may be."""
        if self.open_calls.full:
            return None
        return max(self._paused_until, self._requests.ready_at(now, 1), self._tokens.ready_at(now, tokens))

    def enter(self, now: float, tokens: int) -> Permit:
        """Let a call through."""
        self.open_calls.enter(now)
        return Permit(self._requests.take(now, 1), self._tokens.take(now, tokens))

    def leave(
        self,
        now: float,
        permit: Permit,
        stage: str,
        kind: ErrorKind | None,
        seconds: float | None,
        tokens: int | None,
        retry_after: float | None = None,
    ) -> None:
        """A call has ended; `tokens` is what it came to, None where nobody knows."""
        self.open_calls.leave(now, stage, kind, seconds)
        if tokens is not None:
            self._tokens.correct(permit.tokens, tokens)
        if kind == ErrorKind.RATE_LIMITED and retry_after:
            self._paused_until = max(self._paused_until, now + min(retry_after, LONGEST_PAUSE))

    def told(self, granted: Limits) -> None:
        """What the server says it grants; the smaller of it and what is set counts."""
        self._requests.limit = _smaller(self._set.requests, granted.requests) or self._requests.limit
        self._tokens.limit = _smaller(self._set.tokens, granted.tokens) or self._tokens.limit


def _smaller(one: int | None, other: int | None) -> int:
    """The smaller of two numbers that may be missing, 0 when both are."""
    return min((number for number in (one, other) if number), default=0)
