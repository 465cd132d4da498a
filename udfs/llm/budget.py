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

    def enter(self, expected: float) -> None:
        """One request is sent."""
        self.sent += 1
        self.in_flight += 1
        self._held += expected

    def leave(self, expected: float, actual: float) -> None:
        """It has come to an end, and to this price."""
        self.in_flight -= 1
        self._held = self._held - expected if self.in_flight else 0.0
        self.spent += actual
