"""A limit on how much may be sent in any window of time, and at what pace.

Plain arithmetic on times that the caller gives; it neither waits nor sends.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# A request reaches its server a little after it was let go, and not always equally late. An entry therefore counts
# for this much longer than the window.
SLACK = 0.04
PACE = 0.97  # of the limit's: a window that is nearly full has room for those that were late
BURST = 1 / 60  # of a window's worth may go at once: servers enforce a minute's limit second by second


@dataclass
class Entry:
    """What was sent at a time; its cost is an estimate until the reply tells."""

    at: float
    cost: float


class RateLimit:
    """At most `limit` in any `seconds`; 0 is without limit. What costs more than the limit goes when nothing else does.

    Two rules together: the entries of the last window never come to more than the limit, and they are spread over it.
    """

    def __init__(self, limit: float, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._entries: deque[Entry] = deque()
        self._held = 0.0  # cost of all entries
        self._paid_until = 0.0  # when what was sent so far is due at our pace

    def ready_at(self, now: float, cost: float) -> float:
        """When something of this cost may be sent, if nothing else is sent before."""
        if not self.limit:
            return now
        self._forget(now)
        ready = max(now, self._paid_until - BURST * self._seconds)
        over = self._held + min(cost, self.limit) - self.limit
        for entry in self._entries:
            if over <= 0:
                break
            over -= entry.cost
            ready = max(ready, self._gone_at(entry))
        return ready

    def take(self, now: float, cost: float) -> Entry:
        """Note what is sent."""
        entry = Entry(now, cost)
        if self.limit:
            self._entries.append(entry)
            self._held += cost
            self._paid_until = max(now, self._paid_until) + min(cost, self.limit) * self._each
        return entry

    def correct(self, entry: Entry, cost: float) -> None:
        """What it came to in truth."""
        if self.limit and self._entries and entry.at >= self._entries[0].at:
            self._held += cost - entry.cost
            self._paid_until += (cost - entry.cost) * self._each
            entry.cost = cost

    @property
    def _each(self) -> float:
        """Seconds that a cost of one takes at our pace."""
        return self._seconds / (PACE * self.limit)

    def _gone_at(self, entry: Entry) -> float:
        return entry.at + self._seconds * (1 + SLACK)

    def _forget(self, now: float) -> None:
        while self._entries and self._gone_at(self._entries[0]) <= now:
            self._held -= self._entries.popleft().cost
        if not self._entries:
            self._held = 0.0  # sums of floats drift
