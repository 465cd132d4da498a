"""How many calls may be open at once: more while the server keeps up, fewer when it says or shows that it does not.

Additive increase, multiplicative decrease, judged round by round. A round is half as many replies as calls may be open,
all of calls that began after the last change.
"""

from __future__ import annotations

from collections import Counter
from statistics import median

from udfs.llm.teacher import ErrorKind

FIRST = 32.0
LEAST = 4.0  # a server that fails whatever is asked of it is the circuit's business
LEAST_ROUND = 20  # replies that a median is taken of
SPRINT = 2.0  # increase until the first sign of overload
STEP = 0.05  # increase after it, and at least one call
DECREASE = 0.7
OVERLOADED_SHARE = (
    0.3  # of a round's replies that say so; fewer are chance, or faults that have nothing to do with load
)
SLOW = 2.0  # times the best latency: half of the calls then only queue
GAIN = 1.1  # more replies a second than this times the best are no overload, however slow
LOSS = 0.75  # fewer than this times those before a decrease: it did harm, and what is slow is the work itself
AGING = 1.01  # the best latency and throughput fade, a per cent a round
_OVERLOAD = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.SERVER, ErrorKind.TIMEOUT})


class AdaptiveLimit:
    """Calls open at once towards one server. `most` is what all tasks together have room for."""

    def __init__(self) -> None:
        self.most = 0
        self.in_flight = 0
        self._limit = FIRST
        self._sprinting = True
        self._changed = float("-inf")
        self._ended = 0  # calls, ever
        self._mark: tuple[float, int] | None = None  # when the round's first call began, and how many had ended then
        self._round: list[tuple[str, float]] = []  # stage and latency of answered calls
        self._overloads = self._peak = 0
        self._latency: dict[str, float] = {}  # best median by stage: their replies differ in length
        self._throughput: dict[str, float] = {}
        self._before_cut: tuple[float, float] | None = None  # limit and throughput, after a decrease for latency

    @property
    def limit(self) -> int:
        """Calls that may be open at once now."""
        return max(1, min(int(self._limit), self.most or int(self._limit)))

    @property
    def full(self) -> bool:
        """Whether no further call may be opened."""
        return self.in_flight >= self.limit

    def enter(self, now: float) -> None:
        """One more call is open."""
        self.in_flight += 1
        if self._mark is None:
            self._mark = (now, self._ended)
        self._peak = max(self._peak, self.in_flight)

    def leave(self, now: float, stage: str, kind: ErrorKind | None, seconds: float | None) -> None:
        """A call has ended after so many seconds; None when nobody knows."""
        self.in_flight -= 1
        self._ended += 1
        if seconds is None or now - seconds < self._changed or kind == ErrorKind.CONNECTION:
            return
        if kind in _OVERLOAD:
            self._overloads += 1
        else:
            self._round.append((stage, seconds))
        if len(self._round) + self._overloads >= max(LEAST_ROUND, self.limit / 2):
            self._judge(now)
            self._round, self._overloads, self._peak, self._changed, self._mark = [], 0, self.in_flight, now, None

    def _judge(self, now: float) -> None:
        """The end of a round."""
        replies, used = len(self._round) + self._overloads, min(self._peak, self.limit)
        share = self._share_of_queue(now)
        if self._overloads > OVERLOADED_SHARE * replies or share is not None:
            self._limit, self._sprinting = max(LEAST, min(DECREASE, share or DECREASE) * used), False
        elif used >= 0.8 * self.limit:
            more = self._limit * SPRINT if self._sprinting else self._limit + max(1.0, STEP * self._limit)
            self._limit = min(more, max(FIRST, float(self.most)))

    def _share_of_queue(self, now: float) -> float | None:
        """The share of open calls that would do, where the others wait at the server; None where they do not.

        They wait when replies are slow and no more of them come for it.
        """
        if len(self._round) < LEAST_ROUND / 2 or self._mark is None:
            return None
        ((stage, _),) = Counter(stage for stage, _ in self._round).most_common(1)
        latencies = [seconds for name, seconds in self._round if name == stage]
        middle, throughput = median(latencies), (self._ended - self._mark[1]) / max(1e-6, now - self._mark[0])
        best = self._latency.get(stage, middle) * AGING
        most = self._throughput.get(stage, 0.0) / AGING
        before, self._before_cut = self._before_cut, None
        if before is not None and throughput < LOSS * before[1]:
            self._limit, best, most = before[0], middle, throughput
        self._latency[stage], self._throughput[stage] = min(best, middle), max(most, throughput)
        if middle > SLOW * best and throughput <= GAIN * most:
            self._before_cut = (self._limit, throughput)
            return SLOW * best / middle
        return None
