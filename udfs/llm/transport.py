"""The wire under the OpenAI teacher: one JSON body out, one completion with its headers back.

It raises what the openai package raises and judges nothing; another transport only has to do the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import aiohttp
import httpx
import openai
import orjson
from aiohttp.client_proto import ResponseHandler
from openai.types.chat import ChatCompletion

from udfs.llm.addressing import BEARER_HEADER, address, key_headers

CONNECT_SECONDS = 10.0
REMEMBERED = 16  # newest replies of a connection that another one is compared with


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

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class AiohttpTransport:
    """Chat completions straight over aiohttp, with the openai package's types and errors.

    The package's own client costs ten times the CPU per call and more with every open connection (httpx looks
    through all of them each time). Nothing is retried here: one layer retries, and it is another.
    """

    def __init__(
        self,
        base_url: str,
        timeout_s: float,
        key_header: str = BEARER_HEADER,
        query: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._url = address(base_url, "chat/completions", query)
        connect_s = min(CONNECT_SECONDS, timeout_s / 2)  # below the whole: a server that is not there is told apart
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_s)
        self._key_header = key_header
        self._session: aiohttp.ClientSession | None = None
        self._newest = WeakKeyDictionary[ResponseHandler, deque[bytes]]()  # digests of each connection's replies
        self._proxy = _proxy_for(self._url)

    async def chat(self, body: Mapping[str, Any], key: str | None) -> Completion:
        """See Transport."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers |= key_headers(self._key_header, key)
        try:
            # A redirect would turn the POST into a GET, so it is a fault like any other odd status.
            async with self._opened().post(
                self._url, data=orjson.dumps(body), headers=headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                content = await response.read()
        except aiohttp.ConnectionTimeoutError as error:  # nothing was sent yet
            raise openai.APIConnectionError(request=self._request()) from error
        except TimeoutError as error:
            raise openai.APITimeoutError(request=self._request()) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise openai.APIConnectionError(request=self._request()) from error
        names = {name.lower(): value for name, value in response.headers.items()}
        if response.status // 100 != 2:
            raise self._status_error(response.status, names, content)
        completion = _completion(content)
        if getattr(completion, "id", None) and self._repeats(response, content):
            raise openai.APIConnectionError(message="a reply came twice on one connection", request=self._request())
        return Completion(completion, names)

    async def aclose(self) -> None:
        """See Transport."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """The session, made on the loop that uses it; how many calls are open is decided by the sender."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                request_class=_OnCleanConnection,
                response_class=_OfConnection,
            )
        return self._session

    def _repeats(self, response: aiohttp.ClientResponse, content: bytes) -> bool:
        """Whether a completion came on its connection before, to the byte; then the connection is closed.

        It came too late to be seen before our request went out, whose own reply is still to come: the next request on
        the connection would get that one. Only completions with an id are looked at, for two requests may have the same
        short reply. Where a cache in between repeats one with its id, it is asked for again on another connection.
        """
        protocol = response.protocol if isinstance(response, _OfConnection) else None
        if protocol is None:
            return False
        newest = self._newest.setdefault(protocol, deque(maxlen=REMEMBERED))
        digest = hashlib.sha256(content).digest()
        if digest in newest:
            protocol.close()
            return True
        newest.append(digest)
        return False

    def _request(self) -> httpx.Request:
        return httpx.Request("POST", self._url)

    def _status_error(self, status: int, headers: Mapping[str, str], content: bytes) -> openai.APIStatusError:
        """The openai package's error for a status that is no success."""
        try:
            body = orjson.loads(content)
        except ValueError:
            body = None
        text = content[:1_000].decode("utf-8", "replace")
        response = httpx.Response(status, headers=dict(headers), request=self._request())
        return openai.APIStatusError(text, response=response, body=body)


class _OfConnection(aiohttp.ClientResponse):
    """A response that knows its connection, also when that was given back."""

    protocol: ResponseHandler | None = None


class _OnCleanConnection(aiohttp.ClientRequest):
    """A request that is sent only over a connection on which nothing waits to be read.

    A reply that came twice, or after its request was given up, would be taken for the reply to this one.
    """

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Write the request. Raises ServerDisconnectedError on a connection that cannot be trusted."""
        protocol = conn.protocol
        if protocol is not None and protocol.should_close:
            conn.close()
            raise aiohttp.ServerDisconnectedError("a reply that nobody asked for was waiting on the connection")
        response = await super().send(conn)
        if isinstance(response, _OfConnection):
            response.protocol = protocol
        return response


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address.

    aiohttp's own `trust_env` would also look into ~/.netrc, once per call, and clash with our header there.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def _completion(content: bytes) -> ChatCompletion:
    """The completion in a body. Lenient, because servers differ in what they leave out."""
    payload = orjson.loads(content)  # orjson.JSONDecodeError is a ValueError
    if not isinstance(payload, dict):
        raise ValueError("the body is no JSON object")
    return ChatCompletion.construct(**payload)
