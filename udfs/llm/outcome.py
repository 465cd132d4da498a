"""What a request came to: the rule that turns recorded calls into a settled outcome.

The same rule serves a running task, a retried attempt and the ledger; it makes no call and stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from udfs.llm.calls import CallRow
from udfs.llm.parse import parse_reply
from udfs.llm.teacher import ErrorKind, Reply, Status

OUTCOME_DDL = "key string, status string, error_kind string, error string"
OUTCOME_SCHEMA = pa.schema(
    [("key", pa.string()), ("status", pa.string()), ("error_kind", pa.string()), ("error", pa.string())]
)
_ORDER = ("ok", "lasting", "passing", "fatal")

# The one further call that a reply may lead to: another turn after a text that cannot be read, or the same request
# with more room after one that was cut off.
FurtherCall = Literal["correction", "longer"]


@dataclass(frozen=True)
class Outcome:
    """How the request with this key ended; `text` is the reply that can be read, when status is "ok"."""

    key: str
    status: Status
    error_kind: str | None = None
    error: str | None = None
    text: str | None = None


def outcome_of_reply(key: str, reply: Reply, task: str) -> Outcome:
    """The outcome when this reply is the last word: a text that cannot be read is a lasting failure."""
    if reply.status != "ok":
        return Outcome(key, reply.status, reply.error_kind, reply.error)
    parsed = parse_reply(reply.text, task)
    if parsed.value is None:
        return Outcome(key, "lasting", ErrorKind.BAD_JSON, parsed.error)
    return Outcome(key, "ok", text=reply.text)


def further_call(outcome: Outcome, text: str | None, raises_limit: bool) -> FurtherCall | None:
    """The further call that a first reply with this outcome leads to; a reply cut off is never asked for as it was."""
    if outcome.error_kind == ErrorKind.BAD_JSON and text is not None:
        return "correction"
    return "longer" if outcome.error_kind == ErrorKind.LENGTH and raises_limit else None


def best_call(calls: Iterable[CallRow]) -> CallRow | None:
    """Of several calls with one key the one that counts: ok, then lasting, then passing; then smallest id."""
    ranked = sorted(calls, key=lambda call: (_ORDER.index(call["status"]), call["id"] or ""))
    return ranked[0] if ranked else None


@dataclass(frozen=True)
class Settlement:
    """Either an outcome, or what is still to do: the first call, or `further` alone, after `known_text`."""

    outcome: Outcome | None
    further: FurtherCall | None = None
    known_text: str | None = None


def settle(key: str, task: str, first: CallRow | None, further: CallRow | None, raises_limit: bool) -> Settlement:
    """What recorded calls say about a request: its first call and its further one, either may be absent.

    Passing and fatal failures are never served. A first reply that parses wins over a correction, so a
    better parser needs no call; one that does not parse and has no lasting correction needs that turn.
    """
    if first is None or first["status"] in ("passing", "fatal"):
        return Settlement(None)
    outcome = _outcome_of_call(key, task, first)
    made = further is not None and further["status"] in ("ok", "lasting")
    # A call that was recorded as read or refused by its server has no text of its own to correct.
    step = further_call(outcome, first["text"] if first["status"] == "ok" else None, raises_limit or made)
    if step is None:
        return Settlement(outcome)
    if further is None or not made:
        return Settlement(None, step, first["text"])
    return Settlement(_outcome_of_call(key, task, further))


def _outcome_of_call(key: str, task: str, call: CallRow) -> Outcome:
    """The outcome of a recorded call as the parser of today reads it."""
    readable = call["status"] == "ok" or (call["error_kind"] == ErrorKind.BAD_JSON and call["text"] is not None)
    if not readable:
        return Outcome(key, "lasting", call["error_kind"], call["error"])
    return outcome_of_reply(key, Reply("ok", text=call["text"]), task)
