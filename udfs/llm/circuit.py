"""The circuit of one stage in one process: it opens at the first fault that no further call can escape.

It judges replies as they come and says whether sending may go on; it neither sends nor waits.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

from udfs.llm.teacher import ErrorKind, Reply

# So many refused requests in a row without one success mean that the settings are wrong, not the rows.
BAD_REQUESTS_BEFORE_OPENING = 8


class Circuit:
    """Open once a fatal reply was seen; shared by all tasks of a stage that run in this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._opened_by: Reply | None = None
        self._succeeded = False
        self._bad_requests = 0

    @property
    def opened_by(self) -> Reply | None:
        """The fatal reply that opened the circuit, or None while sending may go on."""
        return self._opened_by

    def judge(self, reply: Reply) -> Reply:
        """Take note of a reply and return it, as it counts.

        A request that the server calls malformed is a lasting fault of its row only when other requests got
        through; before that it is a passing one, and many of them open the circuit.
        """
        with self._lock:
            if reply.status == "ok":
                self._succeeded = True
            if reply.error_kind == ErrorKind.BAD_REQUEST and not self._succeeded:
                self._bad_requests += 1
                tripped = self._bad_requests >= BAD_REQUESTS_BEFORE_OPENING
                reply = replace(reply, status="fatal" if tripped else "passing")
            if reply.status == "fatal" and self._opened_by is None:
                self._opened_by = reply
            return reply


_lock = Lock()
_circuits: dict[tuple[str, str], Circuit] = {}


def circuit_of(run_id: str, stage: str) -> Circuit:
    """The circuit of a stage of a run in this process."""
    with _lock:
        return _circuits.setdefault((run_id, stage), Circuit())
