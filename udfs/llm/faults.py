"""Faults at the border: whatever a server or the network does wrong becomes a kind of error and a sentence.

It reads exceptions and reply bodies; what follows from a kind is decided elsewhere.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from udfs.llm.teacher import ErrorKind, Limits, Reply, failed
from udfs.llm.text import encodable

LONGEST_ERROR = 500  # characters kept of an error: some servers send whole web pages
# What looks like a key, ours or masked: OpenAI's form, a bearer header, credentials in an address.
_SECRET = re.compile(r"\bsk-[A-Za-z0-9_\-*]{6,}|(?i:bearer)\s+\S+|(?<=://)[^/\s@]+@")
# OpenAI, Azure and vLLM; llama.cpp; text-generation-inference; Anthropic; Gemini; Bedrock.
_TOO_LONG = re.compile(
    r"context.{0,20}length|maximum context|context window|too many tokens|prompt is too long|context (?:size|limit)|"
    r"maximum model length|max_new_tokens|maximum number of tokens|input is too long"
)
# What a 403 says of one prompt, whoever asks: OpenRouter, xAI, gateways with guardrails. That a request was blocked is
# no sign: firewalls say it to clients and addresses.
_SAID = r"(?:inputs?|prompts?|contents?|messages?|text|quer(?:y|ies))"
_REFUSED_TEXT = re.compile(rf"\b{_SAID}(?: \w+){{0,3}} (?:blocked|violat)")
_ASKED = re.compile(rf"\b(?:{_SAID}|requests?)\b")
_FLAGGED = re.compile(
    r"flagged|moderation|guardrail|prompt injection|(?:content|safety|usage) (?:filter|polic|guideline|system|check)"
)
# Of whoever asks, whatever the prompt. Input and prompts of a user are what is asked.
_WHO_ASKS = re.compile(
    r"\b(?:accounts?|organi[sz]ations?|projects?|workspaces?|your (?:team|(?:api )?key|access))\b|"
    r"\b(?:ip|address(?:es)?|clients?|regions?|countr(?:y|ies))\b|"
    rf"\busers?\b(?!'?s? (?:{_SAID}|requests?)\b)"
)
_QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded")
_FILTER_CODES = ("content_filter", "content_policy_violation")
_ROW_CODES = ("context_length_exceeded", *_FILTER_CODES)
_BY_STATUS = {
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.QUOTA,
    403: ErrorKind.FORBIDDEN,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    409: ErrorKind.SERVER,
    413: ErrorKind.CONTEXT_TOO_LONG,
    424: ErrorKind.SERVER,  # text-generation-inference: its generation broke off
    425: ErrorKind.RATE_LIMITED,
    429: ErrorKind.RATE_LIMITED,
}


def scrub(text: str, key: str | None) -> str:
    """The text without the key, and without anything shaped like one; cut to LONGEST_ERROR characters."""
    clean = text.replace(key, "***") if key else text
    clean = " ".join(encodable(_SECRET.sub("***", clean)).split())
    return clean if len(clean) <= LONGEST_ERROR else clean[: LONGEST_ERROR - 1] + "…"


def of_exception(error: BaseException, key: str | None) -> Reply:
    """The failed reply for anything raised while a call was made; a nameless fault is the server's."""
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, key)
    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        return failed(ErrorKind.TIMEOUT, "no reply within the time-out")
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return failed(ErrorKind.CERTIFICATE, scrub(f"the server's certificate is not trusted: {cause}", key))
        return failed(ErrorKind.CONNECTION, scrub(f"{type(cause).__name__}: {cause}", key))
    if isinstance(error, OSError):
        return failed(ErrorKind.CONNECTION, scrub(f"{type(error).__name__}: {error}", key))
    if isinstance(error, ValueError):  # json.JSONDecodeError is one
        return failed(ErrorKind.SERVER, scrub(f"the body of the reply cannot be read: {error}", key))
    return failed(ErrorKind.SERVER, scrub(f"{type(error).__name__}: {error}", key))


def _of_status(error: openai.APIStatusError, key: str | None) -> Reply:
    """The failed reply for an HTTP status that is no success."""
    status = error.status_code
    code, message = _code_and_message(error.body)
    kind = _kind(status, code, message or error.message)
    sentence = scrub(f"HTTP {status}: {message or error.message}", key)
    headers = error.response.headers
    granted = limits(headers)
    return failed(kind, sentence, retry_after=retry_after(headers), limits=granted, http_status=status)


def of_status(status: int, body: object, key: str | None) -> Reply:
    """The failed reply for a status and a body that came by another way than this connection."""
    code, message = _code_and_message(body)
    return failed(_kind(status, code, message), scrub(f"HTTP {status}: {message or 'no message'}", key))


def of_error_body(completion: ChatCompletion, key: str | None) -> Reply | None:
    """Some gateways send an error with status 200: the failed reply for it, or None."""
    body = getattr(completion, "error", None)
    if not isinstance(body, dict):
        return None
    code, message = _code_and_message(body)
    status = int(code) if code.isdigit() else 400 if code in _ROW_CODES else 500
    return failed(_kind(status, code, message), scrub(f"error in the body: {message or body}", key))


def of_broken_choice(choice: object, key: str | None) -> Reply | None:
    """A reply that the server itself gave up, as gateways tell it with status 200: its failed reply, or None."""
    told = getattr(choice, "error", None)
    ended = getattr(choice, "finish_reason", None)
    if not isinstance(told, dict) and ended not in ("error", "abort"):
        return None
    _, message = _code_and_message(told)
    return failed(ErrorKind.SERVER, scrub(f"the server broke the reply off: {message or ended}", key))


def _code_and_message(body: object) -> tuple[str, str]:
    """The server's own code (or type) and message, as far as it sent them."""
    inner: Any = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(inner, str):
        return "", inner
    if not isinstance(inner, dict):
        return "", ""
    detail = inner.get("detail")  # as servers made with FastAPI have it
    message = inner.get("message") or (detail if isinstance(detail, str) else "")
    return str(inner.get("code") or inner.get("type") or ""), str(message)


def _kind(status: int, code: str, message: str) -> ErrorKind:
    """Kind of a fault from its status, the server's code and, where codes differ, its words."""
    words = message.lower()
    if code in _QUOTA_CODES:
        return ErrorKind.QUOTA
    if status == 403 and _is_of_prompt(code, words):
        return ErrorKind.CONTENT_FILTER
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return ErrorKind.SERVER
    if status < 400:  # a redirect: the address is not the endpoint's own
        return ErrorKind.NOT_FOUND
    if code == "context_length_exceeded" or _TOO_LONG.search(words):
        return ErrorKind.CONTEXT_TOO_LONG
    if code in _FILTER_CODES:
        return ErrorKind.CONTENT_FILTER
    if code == "model_not_found":
        return ErrorKind.NOT_FOUND
    return ErrorKind.BAD_REQUEST


def _is_of_prompt(code: str, words: str) -> bool:
    """Whether a refusal is of what the prompt says, and not of who sends it; in doubt it is not."""
    if _WHO_ASKS.search(words):
        return False
    flagged = _ASKED.search(words) and _FLAGGED.search(words)
    return code in _FILTER_CODES or bool(flagged or _REFUSED_TEXT.search(words))


def limits(headers: Mapping[str, str]) -> Limits | None:
    """Requests and tokens per minute that the server says it grants, None where it says nothing."""
    told = [headers.get(f"x-ratelimit-limit-{kind}", "") for kind in ("requests", "tokens")]
    if not any(told):
        return None
    return Limits(*(int(value) if value.isdigit() and int(value) > 0 else None for value in told))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date.

    A date is read against the server's own `date` header, so no clocks have to agree.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers.get(name, "")) / unit)
        except ValueError:
            continue
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
        since = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, (until - since).total_seconds())
