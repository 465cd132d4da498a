"""The circuit of one stage: it opens at a fault that no further call can escape, or when most tries fail.

It judges replies as they come and says whether sending may go on; it neither sends nor waits.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from threading import Lock

from udfs.llm.teacher import ErrorKind, Reply, failed

# So many refused requests without one success, half of all that were sent, mean that the settings are wrong, not the
# rows. The half matters while the first calls are under way: refusals come back before answers.
BAD_REQUESTS_BEFORE_OPENING = 8
# So many of them in a row after a success: it is the key that is refused, not what some rows say.
FORBIDDEN_BEFORE_OPENING = 8
WINDOW = 100  # tries that the share of errors is taken of; a tenth of it failing by chance never comes near a half
COMMONEST = 3  # errors named when the circuit opens


class Circuit:
    """Open once a fatal reply was seen or too many tries failed; may be shared by threads.

    `max_error_share` of the last WINDOW tries opens it (1: never). A try refused for its rate is not counted while
    the same request is tried again: how fast to send is decided elsewhere.
    """

    def __init__(self, max_error_share: float = 0.5) -> None:
        self._lock = Lock()
        self._share = max_error_share
        self._last: deque[ErrorKind | None] = deque(maxlen=WINDOW)
        self._sentences: dict[ErrorKind, str] = {}
        self._opened_by: Reply | None = None
        self._succeeded = False
        self._asked = self._bad_requests = self._forbidden = 0

    @property
    def opened_by(self) -> Reply | None:
        """The fatal reply that opened the circuit, or None while sending may go on."""
        return self._opened_by

    def prove(self) -> None:
        """Take note that requests of this kind were answered before: what is refused now is a fault of its row."""
        with self._lock:
            self._succeeded = True

    def asked(self) -> None:
        """Take note of a try that is sent."""
        with self._lock:
            self._asked += 1

    def open(self, reply: Reply) -> None:
        """Open for a fatal reply that somebody else got; the first one counts."""
        with self._lock:
            if self._opened_by is None:
                self._opened_by = reply

    def judge(self, reply: Reply, again: bool = False) -> Reply:
        """Take note of a reply and return it, as it counts; `again` says that its request will be tried once more.

        A request that the server calls malformed is a lasting fault of its row only when other requests got
        through, now or before (`prove`); until then it is a passing one, and many of them open the circuit. One that is
        forbidden after others got through waits: firewalls judge by what a prompt says. Many in a row open it.
        """
        with self._lock:
            if reply.status == "ok":
                self._succeeded, self._forbidden = True, 0
            if reply.error_kind == ErrorKind.FORBIDDEN and self._succeeded:
                self._forbidden += 1
                reply = replace(reply, status="passing" if self._forbidden < FORBIDDEN_BEFORE_OPENING else "fatal")
            if reply.error_kind == ErrorKind.BAD_REQUEST and not self._succeeded:
                self._bad_requests += 1
                tripped = self._bad_requests >= max(BAD_REQUESTS_BEFORE_OPENING, self._asked / 2)
                reply = replace(reply, status="fatal" if tripped else "passing")
            if reply.error_kind != ErrorKind.RATE_LIMITED or not again:
                self._count(reply)
            if reply.status == "fatal" and self._opened_by is None:
                self._opened_by = reply
            return reply

    def _count(self, reply: Reply) -> None:
        """Put a try into the window, and open when too many in it failed."""
        self._last.append(reply.error_kind)
        if reply.error_kind is None:
            return
        self._sentences[reply.error_kind] = reply.error or ""
        errors = Counter(kind for kind in self._last if kind is not None)
        if self._share < 1 and errors.total() > self._share * WINDOW and self._opened_by is None:
            told = ", ".join(f"{n} × {kind} ({self._sentences[kind]})" for kind, n in errors.most_common(COMMONEST))
            sentence = f"{errors.total()} of the last {len(self._last)} tries failed: {told}"
            self._opened_by = failed(ErrorKind.TOO_MANY_ERRORS, sentence)


_lock = Lock()
_circuits: dict[tuple[str, str], Circuit] = {}


def circuit_of(run_id: str, stage: str, max_error_share: float = 0.5, proven: bool = False) -> Circuit:
    """The circuit of a stage of a run in this process; `proven` where the ledger holds answers to such requests."""
    with _lock:
        circuit = _circuits.setdefault((run_id, stage), Circuit(max_error_share))
    if proven:
        circuit.prove()
    return circuit
