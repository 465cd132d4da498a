"""The files and batches of a provider, through the openai package: seven calls, every fault typed as online.

It keeps nothing and decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, Literal, TypeVar

import httpx
import openai
from openai.types import Batch

from udfs.llm.addressing import BEARER_HEADER
from udfs.llm.batch.lines import URL
from udfs.llm.batch.store import Endpoint
from udfs.llm.faults import of_exception
from udfs.llm.teacher import ErrorKind, Reply, failed

MARK = "longloom"  # of a batch's metadata: the name of our intent
WINDOW: Literal["24h"] = "24h"
PAGE = 100
EARLIER_S = 86_400.0  # clocks differ: so much older than our intent a batch of it may look
T = TypeVar("T")


class ProviderFault(Exception):
    """The provider could not be asked, or refused; `reply` says how it is to be taken."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.error)
        self.reply = reply


class BatchClient:
    """One endpoint. The key is read when it is made. Every method raises ProviderFault."""

    def __init__(self, endpoint: Endpoint) -> None:
        name = endpoint.api_key_env
        self.key = os.environ.get(name) if name else None
        if name and not self.key:
            reason = f"the environment variable {name} holds no key; set it, then run again"
            raise ProviderFault(failed(ErrorKind.AUTHENTICATION, reason))
        own_header = endpoint.key_header.lower() != BEARER_HEADER.lower()
        # With each call: the package asks for its own header, or that it was left out of this very call.
        self._own: dict[str, str | openai.Omit] = {}
        if own_header and self.key:
            self._own = {BEARER_HEADER: openai.omit, endpoint.key_header: self.key}
        self._client = openai.OpenAI(
            api_key=self.key or "none",
            base_url=endpoint.base_url,
            timeout=endpoint.timeout_s,
            max_retries=0,  # a step that failed for the moment is tried at the next look; nothing is uploaded twice
            default_query=endpoint.query,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        # Some services keep files in a storage at another host. The package shows it no `Authorization`; a key in a
        # header of its own would be shown to whatever host a redirect names.
        downloading = openai.DefaultHttpxClient(follow_redirects=not self._own)
        self._downloads = self._client.with_options(http_client=downloading)

    def upload(self, name: str, content: BinaryIO) -> str:
        """Store a file of requests; its id."""
        file = (file_name(name), content, "application/jsonl")
        return self._asked(lambda: self._client.files.create(file=file, purpose="batch", extra_headers=self._own)).id

    def create(self, file_id: str, name: str) -> str:
        """Make a batch of a file; its id. Tried once: a repetition could be a second batch."""
        once = self._client.with_options(max_retries=0)
        made = self._asked(
            lambda: once.batches.create(
                input_file_id=file_id,
                endpoint=URL,
                completion_window=WINDOW,
                metadata={MARK: name},
                extra_headers=self._own,
            )
        )
        return made.id

    def find(self, name: str, since: float) -> Batch | None:
        """The batch of an intent made at `since`, where the provider has one."""

        def look() -> Batch | None:
            for batch in self._client.batches.list(limit=PAGE, extra_headers=self._own):
                if batch.created_at and batch.created_at < since - EARLIER_S:
                    return None  # the newest come first
                if (batch.metadata or {}).get(MARK) == name:
                    return batch
            return None

        return self._asked(look)

    def find_file(self, name: str, since: float) -> str | None:
        """The id of an uploaded file of requests, where the provider has it."""

        def look() -> str | None:
            for file in self._client.files.list(purpose="batch", limit=PAGE, extra_headers=self._own):
                if file.created_at and file.created_at < since - EARLIER_S:
                    return None
                if file.filename == file_name(name):
                    return file.id
            return None

        return self._asked(look)

    def get(self, batch_id: str) -> Batch:
        """How a batch stands."""
        return self._asked(lambda: self._client.batches.retrieve(batch_id, extra_headers=self._own))

    def can_batch(self) -> None:
        """Look whether the endpoint knows batches at all."""
        self._asked(lambda: self._client.batches.list(limit=1, extra_headers=self._own))

    def cancel(self, batch_id: str) -> Batch:
        """Ask for the end of a batch; what ran until then is kept, and paid."""
        return self._asked(lambda: self._client.batches.cancel(batch_id, extra_headers=self._own))

    def delete_file(self, file_id: str) -> None:
        """Remove a file."""
        self._asked(lambda: self._client.files.delete(file_id, extra_headers=self._own))

    def has_file(self, file_id: str) -> bool:
        """Whether the content of a file is still there; nothing of it is read."""
        try:
            with self._faults(), self._content(file_id):
                return True
        except ProviderFault as fault:
            if fault.reply.error_kind != ErrorKind.NOT_FOUND:
                raise
            return False

    def lines(self, file_id: str) -> Iterator[bytes]:
        """The lines of a file, as they come."""
        with self._faults(), self._content(file_id) as response:
            rest = b""
            for piece in response.iter_bytes(1 << 20):
                # At \n alone: httpx's own lines also end at characters that may stand within a JSON string.
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
            if rest:
                yield rest

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._downloads.close()

    def _content(self, file_id: str) -> AbstractContextManager[Any]:
        return self._downloads.files.with_streaming_response.content(file_id, extra_headers=self._own)

    def _asked(self, ask: Callable[[], T]) -> T:
        with self._faults():
            return ask()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except openai.OpenAIError as error:
            raise ProviderFault(of_exception(error, self.key)) from None  # its text may hold what the server repeats
        except (httpx.HTTPError, OSError, ValueError) as error:  # a download that breaks off
            raise ProviderFault(of_exception(error, self.key)) from None


def file_name(name: str) -> str:
    """What the file of an intent is called at the provider."""
    return f"longloom-{name}.jsonl"
