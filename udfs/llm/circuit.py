"""The circuit of one stage: it opens at a fault that no further call can escape, or when most tries fail.

It judges replies as they come and says whether sending may go on; it neither sends nor waits.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from threading import Lock

from udfs.llm.teacher import ErrorKind, Reply, Status, failed

# So many refused requests without one success, half of all that were sent, mean that the settings are wrong, not the
# rows. The half matters while the first calls are under way: refusals come back before answers.
BAD_REQUESTS_BEFORE_OPENING = 8
# So many forbidden ones, half of what was sent from the first of them on, and nothing sent after it was answered: it is
# the key that is refused, not what some rows say. A few documents that a firewall does not like have fewer calls.
FORBIDDEN_BEFORE_OPENING = 16
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
        self._asked = self._bad_requests = 0
        self._forbidden = self._first_forbidden = 0  # how many since something was answered; the try that was the first

    @property
    def opened_by(self) -> Reply | None:
        """The fatal reply that opened the circuit, or None while sending may go on."""
        return self._opened_by

    def prove(self) -> None:
        """Take note that requests of this kind were answered before: what is refused now is a fault of its row."""
        with self._lock:
            self._succeeded = True

    def asked(self) -> int:
        """Take note of a try that is sent; its number, by which `judge` tells what was sent after what."""
        with self._lock:
            self._asked += 1
            return self._asked

    def open(self, reply: Reply) -> None:
        """Open for a fatal reply that somebody else got; the first one counts."""
        with self._lock:
            if self._opened_by is None:
                self._opened_by = reply

    def judge(self, reply: Reply, sent: int | None = None, again: bool = False) -> Reply:
        """Take note of a reply and return it, as it counts; `again` says that its request will be tried once more.

        `sent` is the number of its try (None: the newest). A request that the server calls malformed is a lasting fault
        of its row only when other requests got through, now or before (`prove`); until then it is a passing one, and
        many of them open the circuit. So is one that is forbidden, for firewalls judge by what a prompt says; but many
        of those, with nothing answered that was sent since, open it also later: keys are taken back.
        """
        with self._lock:
            sent = self._asked if sent is None else sent
            if reply.status == "ok":
                self._succeeded = True
                # What was sent before says only that the key was good until then.
                self._forbidden = self._forbidden if sent < self._first_forbidden else 0
            if reply.error_kind == ErrorKind.FORBIDDEN:
                self._first_forbidden = self._first_forbidden if self._forbidden else sent
                self._forbidden += 1
                status = self.of_forbidden(self._forbidden, self._asked - self._first_forbidden + 1)
                reply = replace(reply, status=status if self._opened_by is None else "fatal")
            if reply.error_kind == ErrorKind.BAD_REQUEST and not self._succeeded:
                self._bad_requests += 1
                tripped = self._bad_requests >= max(BAD_REQUESTS_BEFORE_OPENING, self._asked / 2)
                reply = replace(reply, status="fatal" if tripped else "passing")
            if reply.error_kind != ErrorKind.RATE_LIMITED or not again:
                self._count(reply)
            if reply.status == "fatal" and self._opened_by is None:
                self._opened_by = reply
            return reply

    def of_forbidden(self, count: int, sent: int) -> Status:
        """What so many forbidden requests are, among so many that were sent with them."""
        if count >= max(FORBIDDEN_BEFORE_OPENING if self._succeeded else 1, sent / 2):
            return "fatal"
        return "lasting" if self._succeeded else "passing"

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
