"""The wire under the OpenAI teacher: one JSON body out, one completion with its headers back.

It raises what the openai package raises and judges nothing; another transport only has to do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import openai
from openai.types.chat import ChatCompletion

CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Completion:
    """A reply of the server with status 2xx; `headers` have lower-case names."""

    body: ChatCompletion
    headers: Mapping[str, str]


class Transport(Protocol):
    """Posts chat completions to one base URL. Raises openai errors, or ValueError on a malformed body."""

    async def chat(self, body: Mapping[str, Any], key: str | None) -> Completion:
        """Send one request body; `key` goes into the header of this call and is not kept."""
        ...


class SdkTransport:
    """The openai package's own client, over aiohttp where its adapter is installed; it never retries."""

    def __init__(self, base_url: str, timeout_s: float, connections: int) -> None:
        self._client = openai.AsyncOpenAI(
            api_key="given-with-each-call",  # the client insists on one; the header below replaces it
            base_url=base_url,
            max_retries=0,  # one layer retries, and it is not this one
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_SECONDS, timeout_s)),
            http_client=_http_client(connections),
        )

    async def chat(self, body: Mapping[str, Any], key: str | None) -> Completion:
        authorization = openai.Omit() if key is None else f"Bearer {key}"
        response = await self._client.post(
            "/chat/completions",
            cast_to=httpx.Response,
            body=dict(body),
            options={"headers": {"Authorization": authorization}},
        )
        payload = response.json()  # a bare json.JSONDecodeError when the body is no JSON
        if not isinstance(payload, dict):
            raise ValueError("the body is no JSON object")
        completion = ChatCompletion.construct(**payload)  # lenient: servers differ in what they leave out
        return Completion(completion, {name.lower(): value for name, value in response.headers.items()})

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()


def _http_client(connections: int) -> httpx.AsyncClient:
    """An HTTP client that can hold all calls of a task; aiohttp costs half the CPU of the default."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    try:
        return openai.DefaultAioHttpClient(limits=limits)
    except RuntimeError:  # the adapter is an extra of the openai package
        return openai.DefaultAsyncHttpxClient(limits=limits)
