"""Faults of the fake server: which one a request meets, and what goes over the wire then.

Whether a request meets a fault is a function of its hash (and, for passing faults, of how often it came), so
an undisturbed run and a killed one meet the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from email.utils import formatdate
from typing import Any

from aiohttp import web

PASSING = frozenset(
    {"rate_limited", "rate_limited_date", "rate_limited_bare", "server_500", "server_502", "server_503",
     "server_504", "bad_body", "disconnect", "reset", "slow", "drip", "duplicate"}
)  # fmt: skip
LASTING = frozenset(
    {"length", "cut_off", "content_filter", "content_filter_400", "refusal", "empty_choices", "empty_text", "tool_call",
     "bad_schema", "never_schema", "repairable", "context_too_long", "too_large", "bad_request"}
)  # fmt: skip
FATAL = frozenset({"quota", "payment", "authentication", "model_not_found", "redirect"})
CUT_OFF_AT = 4_096  # max_tokens up to which the fault "cut_off" cuts a reply
BROKEN_WIRE = frozenset({"disconnect", "reset", "bad_body", "slow", "drip", "duplicate"})
_MARK = re.compile(r"\[\[fault:([a-z_0-9]+)(?:\*(\d+))?\]\]")
_STATUSES: dict[str, tuple[int, str, str]] = {
    "rate_limited": (429, "rate_limit_exceeded", "Rate limit reached"),
    "rate_limited_date": (429, "rate_limit_exceeded", "Rate limit reached"),
    "rate_limited_bare": (429, "rate_limit_exceeded", "Rate limit reached"),
    "server_500": (500, "server_error", "The server had an error"),
    "server_502": (502, "bad_gateway", "Bad gateway"),
    "server_503": (503, "overloaded", "Overloaded"),
    "server_504": (504, "gateway_timeout", "Gateway time-out"),
    "content_filter_400": (400, "content_filter", "The prompt was filtered"),
    "context_too_long": (400, "context_length_exceeded", "This model's maximum context length is 10 tokens"),
    "bad_request": (400, "invalid_value", "Unknown parameter"),
    "quota": (429, "insufficient_quota", "You exceeded your current quota"),
    "too_large": (413, "request_too_large", "Request body too large"),
    "payment": (402, "payment_required", "Insufficient balance"),
    "redirect": (307, "moved", "Temporary redirect"),
    "authentication": (401, "invalid_api_key", "Incorrect API key provided"),
    "model_not_found": (404, "model_not_found", "The model does not exist"),
}


def choose(body_hash: str, prompt: str, rates: dict[str, float], seed: int, tries: int, times: int) -> str | None:
    """The fault of this try (from 1), or None.

    The prompt can order one, `[[fault:KIND]]` for every try or `[[fault:KIND*N]]` for the first N; otherwise
    it is drawn by hash, and passing faults meet the first `times` tries only.
    """
    mark = _MARK.search(prompt)
    if mark:
        return mark[1] if tries <= int(mark[2] or 10**9) else None
    digest = hashlib.sha256(f"{seed}:{body_hash}".encode()).digest()
    draw = int.from_bytes(digest[:6], "big") / 2**48
    for kind, rate in rates.items():
        if draw < rate:
            return None if kind in PASSING and tries > times else kind
        draw -= rate
    return None


def error_response(kind: str, retry_after: float, message: str = "") -> web.Response | None:
    """The HTTP error of a fault that is one."""
    if kind not in _STATUSES:
        return None
    status, body = error_body(kind, message) or (500, {})
    headers = {"location": "/elsewhere"} if kind == "redirect" else {}
    if kind == "rate_limited":
        headers["retry-after"] = f"{retry_after:g}"
    if kind == "rate_limited_date":
        now = 1_700_000_000
        headers = {"date": formatdate(now, usegmt=True), "retry-after": formatdate(now + 3, usegmt=True)}
    return web.json_response(body, status=status, headers=headers)


def error_body(kind: str, message: str = "") -> tuple[int, dict[str, Any]] | None:
    """Status and body of a fault that is an HTTP error."""
    if kind not in _STATUSES:
        return None
    status, code, words = _STATUSES[kind]
    return status, {"error": {"message": message or words, "type": "error", "param": None, "code": code}}


async def broken_wire(kind: str, request: web.Request, payload: dict[str, Any], slow: float) -> web.StreamResponse:
    """Faults below HTTP: a torn body, a closed connection, a reply that drips."""
    transport = request.transport
    assert transport is not None
    text = json.dumps(payload).encode()
    if kind == "disconnect":
        transport.abort()
        return web.Response()
    if kind == "slow":
        await asyncio.sleep(slow)
        return web.json_response(payload)
    if kind == "bad_body":
        return web.Response(body=text[: len(text) // 2], content_type="application/json")
    if kind == "duplicate":  # a second reply that nobody asked for follows on the same connection
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
        asyncio.get_running_loop().call_later(0.02, transport.write, head.encode() + text)
        return web.json_response(payload)
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": str(len(text))})
    await response.prepare(request)
    if kind == "reset":
        await response.write(text[: len(text) // 2])
        transport.abort()
        return response
    for index in range(len(text)):  # drip: every read succeeds, the whole never does
        await response.write(text[index : index + 1])
        await asyncio.sleep(slow / 20)
    return response


def spoil(kind: str, completion: dict[str, Any], is_correction: bool, max_tokens: int) -> dict[str, Any]:
    """A completion with the fault in its content."""
    choice = completion["choices"][0]
    message = choice["message"]
    if kind == "length" or (kind == "cut_off" and max_tokens <= CUT_OFF_AT):
        choice["finish_reason"] = "length"
        message["content"] = message["content"][: len(message["content"]) // 2]
    elif kind == "content_filter":
        choice["finish_reason"], message["content"] = "content_filter", ""
    elif kind == "refusal":
        message["content"], message["refusal"] = None, "I cannot help with that."
    elif kind == "empty_choices":
        completion["choices"] = []
    elif kind == "empty_text":
        message["content"] = "  \n"
    elif kind == "tool_call":
        call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        message["content"], message["tool_calls"], choice["finish_reason"] = None, [call], "tool_calls"
    elif kind == "repairable":  # as chat models write it: a fence, a word before it, a comma too many
        message["content"] = f"Here it is:\n```json\n{message['content'][:-1]},}}\n```"
    elif kind == "never_schema" or (kind == "bad_schema" and not is_correction):
        message["content"] = json.dumps({"note": "this is not what was asked for", "label": None})
    return completion
