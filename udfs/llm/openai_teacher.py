"""A teacher behind any OpenAI-compatible address: OpenAI, Azure, vLLM, Databricks serving, and the rest.

It turns one request into one call and whatever comes back into a Reply; it does not retry, wait or count. A server that
does not know `prompt_cache_key` is not shown it again, and the call that told us so is marked as `reworded`.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from time import monotonic
from typing import Any

from openai.types.chat import ChatCompletion

from udfs.llm.faults import limits, of_broken_choice, of_error_body, of_exception, scrub
from udfs.llm.teacher import ErrorKind, Reply, Request, failed
from udfs.llm.text import encodable
from udfs.llm.transport import AiohttpTransport, Transport
from udfs.settings import LlmSettings

CACHE_KEY = "prompt_cache_key"
# How a reply ended, in the words of OpenAI and of what stands behind gateways to others.
CUT_OFF = frozenset({"length", "model_length", "max_tokens", "max_output_tokens", "max_completion_tokens"})
FILTERED = frozenset(
    {"content_filter", "content_filtered", "guardrail_intervened", "safety", "recitation"}
    | {"prohibited_content", "blocklist", "spii"}
)
TEXT_PARTS = ("text", "output_text")


def wire_body(request: Request, cache_key: bool = False) -> dict[str, Any]:
    """The JSON body of a request; with `cache_key`, calls on one document are sent to where its prefix is cached.

    `extra_body` goes in as it is and wins over ours; with `max_completion_tokens` in it, the older
    `max_tokens` is left out, because newer models refuse to see both.
    """
    parameters = dict(request.parameters)
    mode = parameters.pop("json_mode", "schema")
    extra = parameters.pop("extra_body", {})
    body: dict[str, Any] = {**parameters, "messages": list(request.messages)}
    if mode == "schema":
        named = {"name": request.task, "strict": True, "schema": dict(request.reply_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif mode == "object_schema":  # as llama-cpp-python and some hosts have it
        body["response_format"] = {"type": "json_object", "schema": dict(request.reply_schema)}
    elif mode == "object":
        body["response_format"] = {"type": "json_object"}
    if cache_key and request.document is not None:
        body[CACHE_KEY] = request.document
    if "max_completion_tokens" in extra:
        del body["max_tokens"]
    return {**body, **extra}


class OpenAITeacher:
    """Teacher over HTTP. The key is read from its environment variable at each call and kept nowhere.

    An empty `api_key_env` means that the server wants no key. The transport is made on the first call, on the
    loop that will use it; `transport` replaces it.
    """

    def __init__(self, settings: LlmSettings, transport: Transport | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._cache_key = settings.cache_key

    async def complete(self, request: Request) -> Reply:
        """Answer one request; see Teacher."""
        name = self._settings.api_key_env
        key = os.environ.get(name) if name else None
        if name and not key:
            return failed(
                ErrorKind.AUTHENTICATION,
                f"the environment variable {name} holds no key; set it where the job runs, "
                "or set llm.api_key_env to an empty string for a server without keys",
            )
        start = monotonic()
        reply = await self._call(request, key)
        return _timed(reply, monotonic() - start)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._transport is not None:
            await self._transport.aclose()

    async def _call(self, request: Request, key: str | None) -> Reply:
        """One call; every exception becomes a failed reply."""
        if self._transport is None:
            told = self._settings
            self._transport = AiohttpTransport(told.base_url, told.timeout_s, told.key_header, told.query)
        cache_key = self._cache_key and request.document is not None
        try:
            # Over the whole call and whatever the transport: many count from read to read, and a server
            # that drips never meets such a limit.
            async with asyncio.timeout(self._settings.timeout_s):
                completion = await self._transport.chat(wire_body(request, cache_key), key)
        except Exception as error:
            reply = of_exception(error, key)
            if cache_key and reply.error_kind == ErrorKind.BAD_REQUEST and CACHE_KEY in (reply.error or ""):
                self._cache_key = False  # a server that does not know the field: it is a wish, and nothing hangs on it
                return replace(reply, reworded=True)
            return reply
        reply = of_error_body(completion.body, key) or read_completion(completion.body, key)
        granted = limits(completion.headers)
        return reply if granted is None else replace(reply, limits=granted)


def read_completion(body: ChatCompletion, key: str | None = None) -> Reply:
    """The reply in a completion: its text, or the kind of failure that its shape tells."""
    metered = _metered(body)
    try:
        if not body.choices:
            return failed(ErrorKind.EMPTY, "the reply has no choices", **metered)
        choice = body.choices[0]
        message, metered["finish_reason"] = choice.message, choice.finish_reason
        text = _written(message.content)
        ended = str(choice.finish_reason).lower()
    except (AttributeError, TypeError, IndexError, KeyError) as error:
        return failed(ErrorKind.SERVER, scrub(f"the reply has an unknown shape: {error}", key), **metered)
    broken = of_broken_choice(choice, key)
    if broken is not None:
        return replace(broken, **metered)
    if ended in FILTERED:
        return failed(ErrorKind.CONTENT_FILTER, "the provider's filter stopped the reply", **metered)
    if getattr(message, "refusal", None):
        return failed(ErrorKind.REFUSAL, scrub(f"the model refused: {message.refusal}", key), **metered)
    if ended in CUT_OFF:
        return failed(ErrorKind.LENGTH, "the reply was cut off at max_tokens", text=_text(text), **metered)
    if not isinstance(text, str) or not text.strip():
        if getattr(message, "tool_calls", None):
            return failed(ErrorKind.TOOL_CALL, "the model called a tool instead of answering", **metered)
        return failed(ErrorKind.EMPTY, "the reply has no text", **metered)
    return Reply("ok", text=encodable(text), **metered)


def _written(content: object) -> object:
    """The text of a message; of one in parts, what they say to the reader, without what was thought before it."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in TEXT_PARTS]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _text(text: object) -> str | None:
    return encodable(text) if isinstance(text, str) else None


def _metered(body: ChatCompletion) -> dict[str, Any]:
    """Model and tokens as the server reported them; None where it did not."""
    usage = getattr(body, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    model = getattr(body, "model", None)
    return {
        "model": model if isinstance(model, str) else None,
        "tokens_in": _count(usage, "prompt_tokens"),
        "tokens_out": _count(usage, "completion_tokens"),
        "tokens_cached": _count(details, "cached_tokens"),
    }


def _count(holder: object, name: str) -> int | None:
    value = getattr(holder, name, None)
    return value if isinstance(value, int) else None


def _timed(reply: Reply, seconds: float) -> Reply:
    return replace(reply, seconds=round(seconds, 6))
