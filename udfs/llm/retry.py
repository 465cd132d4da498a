"""Retries in place: how often a passing fault is tried again at once, and how long to wait before it.

It decides and does not sleep. What is still failing afterwards is reported, and its row waits for a rerun.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from udfs.llm.gate import LONGEST_PAUSE
from udfs.llm.teacher import ErrorKind, Reply

_TRIES = MappingProxyType(
    {
        ErrorKind.RATE_LIMITED: 4,
        ErrorKind.SERVER: 3,
        ErrorKind.CONNECTION: 3,
        ErrorKind.TIMEOUT: 2,  # the server may have worked, and billed, all that time
    }
)


@dataclass(frozen=True)
class RetryPolicy:
    """Tries per kind (kinds not named get one), first wait and longest wait in seconds.

    A server that asks for more than `longest_wait` is not waited for: the row is reported as it is.
    """

    tries: Mapping[ErrorKind, int] = field(default_factory=lambda: dict(_TRIES))
    first_wait: float = 0.5
    longest_wait: float = LONGEST_PAUSE

    def wait_before(self, attempt: int, reply: Reply, key: str) -> float | None:
        """Seconds to wait before the try after `attempt` (from 1), or None when there is to be none.

        Waits double and carry a jitter of half their length, drawn from the key, so that calls that failed
        together do not come back together. `retry-after` is a floor.
        """
        kind = reply.error_kind
        if reply.status != "passing" or kind is None or attempt >= self.tries.get(kind, 1):
            return None
        draw = hashlib.sha256(f"{key}:{attempt}".encode()).digest()[0] / 255
        wait = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1)) * (0.75 + 0.5 * draw)
        asked = reply.retry_after or 0.0
        return None if asked > self.longest_wait else max(asked * (1 + 0.1 * draw), wait)
