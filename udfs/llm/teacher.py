"""What a teacher is: a request goes in, a reply comes out, and every fault is a kind, never an exception.

It knows no provider and no transport; the kinds decide whether a row is rejected, deferred or stops the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, TypedDict

Status = Literal["ok", "lasting", "passing", "fatal"]


class Message(TypedDict):
    """One chat message."""

    role: str
    content: str


class ErrorKind(StrEnum):
    """Everything that can go wrong with a call."""

    # passing: the same request may succeed later, so its row is deferred
    RATE_LIMITED = "rate_limited"
    SERVER = "server"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    BUDGET = "budget"
    NOT_ADMITTED = "not_admitted"
    # lasting: the same request would fail again, so its row is rejected
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    LENGTH = "length"
    BAD_JSON = "bad_json"
    EMPTY = "empty"
    CONTEXT_TOO_LONG = "context_too_long"
    TOOL_CALL = "tool_call"
    BAD_REQUEST = "bad_request"
    # fatal: no request can succeed until somebody acts, so sending stops
    AUTHENTICATION = "authentication"
    FORBIDDEN = "forbidden"  # for one row alone, perhaps, once others were answered: see Circuit
    QUOTA = "quota"
    NOT_FOUND = "not_found"
    CERTIFICATE = "certificate"
    TOO_MANY_ERRORS = "too_many_errors"


PASSING = frozenset(
    {ErrorKind.RATE_LIMITED, ErrorKind.SERVER, ErrorKind.TIMEOUT, ErrorKind.CONNECTION}
    | {ErrorKind.BUDGET, ErrorKind.NOT_ADMITTED}
)
FATAL = frozenset(
    {ErrorKind.AUTHENTICATION, ErrorKind.FORBIDDEN, ErrorKind.QUOTA, ErrorKind.NOT_FOUND, ErrorKind.CERTIFICATE}
    | {ErrorKind.TOO_MANY_ERRORS}
)
LASTING = frozenset(ErrorKind) - PASSING - FATAL


def status_of(kind: ErrorKind) -> Status:
    """The status that a kind of error leads to."""
    if kind in PASSING:
        return "passing"
    return "fatal" if kind in FATAL else "lasting"


class Limits(NamedTuple):
    """Requests and tokens per minute that a server says it grants; None where it does not say."""

    requests: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Request:
    """One call to make.

    `task` and `variables` let a teacher that is no language model answer; `messages`, `parameters` (with
    `model`, `temperature`, `max_tokens`, `json_mode`, …) and `reply_schema` are what goes over the wire and
    what `key` is the hash of. `document` names what the call is about: calls on one share a prefix.
    """

    key: str
    task: str
    variables: Mapping[str, Any]
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any]
    reply_schema: Mapping[str, Any]
    document: str | None = None


@dataclass(frozen=True)
class Reply:
    """What came of a call: text with status "ok", or a kind of error with a sentence.

    Tokens are as the provider metered them, None where it did not; `seconds` is the wall time of the last
    attempt; `retry_after` (seconds) is what the server asked for, `limits` what it grants, `http_status` what an error
    page came with. A truncated reply keeps its text. `reworded` says that the teacher will send the same request in
    another form that the server may know, and stands in for no reply of its own: it is to be asked again at once.
    """

    status: Status
    text: str | None = None
    error_kind: ErrorKind | None = None
    error: str | None = None
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    seconds: float = 0.0
    finish_reason: str | None = None
    retry_after: float | None = None
    limits: Limits | None = None
    http_status: int | None = None
    reworded: bool = False


def failed(kind: ErrorKind, error: str, **details: Any) -> Reply:
    """A reply that failed; `details` are further fields of Reply."""
    return Reply(status=status_of(kind), error_kind=kind, error=error, **details)


class Teacher(Protocol):
    """Anything that answers requests. It must not raise: what goes wrong comes back as a failed reply."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request; may be awaited many times at once on one event loop."""
        ...
