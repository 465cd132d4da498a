"""What a run may spend, in requests and in money, and what it has spent.

Money of calls in flight is held back as expected and put right by their replies. It waits for nobody.
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["go", "wait", "stop"]


class Budget:
    """`calls` and `usd` of a run, 0 each for no limit. Never more is let go than is left."""

    def __init__(self, calls: int, usd: float) -> None:
        self._calls, self._usd = calls, usd
        self.sent = self.in_flight = 0
        self.spent = self._held = 0.0
        self.used_up: str | None = None  # the sentence, once nothing further may be sent

    def verdict(self, expected: float) -> Verdict:
        """Whether a request of this price may go, must wait for replies that may cost less, or is one too many."""
        if self.used_up is None and self._calls and self.sent >= self._calls:
            self.used_up = f"llm.budget_calls: {self._calls} requests were sent"
        if self.used_up is None and self._usd and self.spent + self._held + expected > self._usd:
            if self.in_flight:
                return "wait"
            self.used_up = (
                f"llm.budget_usd: {self.spent:.4f} of {self._usd:g} USD were spent, and the next call is expected to "
                f"cost {expected:.4f}"
            )
        return "stop" if self.used_up is not None else "go"

    def enter(self, expected: float, calls: int = 1) -> None:
        """So many requests are sent, expected to cost this together."""
        self.sent += calls
        self.in_flight += calls
        self._held += expected

    def left(self) -> tuple[int | None, float | None]:
        """Requests and USD that may still go, what is in flight taken off; None without a limit."""
        calls = max(0, self._calls - self.sent) if self._calls else None
        return calls, max(0.0, self._usd - self.spent - self._held) if self._usd else None

    def leave(self, expected: float, actual: float, calls: int = 1) -> None:
        """They have come to an end, and to this price."""
        self.in_flight -= calls
        self._held = self._held - expected if self.in_flight else 0.0
        self.spent += actual
