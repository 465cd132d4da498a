"""Writing batch files in Spark tasks: request rows go in, files within the provider's limits come out.

What cannot be sent is recorded in the spool as online. Files count once the driver made an intent of them.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from udfs.llm.batch.lines import call_line, request_line
from udfs.llm.batch.store import CALLS, INPUT, BatchFile, BatchStore
from udfs.llm.caller import Job, Origin, call_row, further_request, words_of
from udfs.llm.prices import Price
from udfs.llm.requests import reply_limit
from udfs.llm.sender import Batches, Sending, jobs_of, partition_id, rows_of
from udfs.llm.spool import SpoolWriter
from udfs.llm.teacher import ErrorKind, Reply, Request, failed
from udfs.settings import LlmSettings

FILE_DDL = "name string, requests bigint, size bigint, sha256 string, expected_usd double"
FILE_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("requests", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("expected_usd", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Expected:
    """What a call is expected to come to: prompt tokens per character, tokens of a reply, the price if known."""

    tokens_per_char: float
    tokens_out: float
    price: Price | None

    def tokens_in(self, call: Request) -> int:
        """Expected tokens of a call's prompt."""
        return int(sum(len(message["content"]) for message in call.messages) * self.tokens_per_char) + 1

    def usd(self, call: Request) -> float:
        """Expected cost of a call, 0 without a price."""
        if self.price is None:
            return 0.0
        out = min(self.tokens_out, reply_limit(call.parameters))
        return self.price.cost(self.tokens_in(call), int(out) + 1)


def write_files(sending: Sending, folder: str, expected: Expected) -> Callable[[Batches], Batches]:
    """A function for `DataFrame.mapInArrow`: REQUEST_DDL rows with `further` and `known_text` in, FILE_DDL rows out."""

    def run(batches: Batches) -> Batches:
        rows = (row for batch in batches for row in rows_of(iter([batch])))
        files = [file.model_dump() for file in files_of(sending, folder, expected, jobs_of(sending, rows))]
        yield pa.RecordBatch.from_pylist(files, schema=FILE_SCHEMA)

    return run


def read_keys(folder: str) -> Callable[[Batches], Batches]:
    """A function for `DataFrame.mapInArrow`: names of batches in, [key] of the requests that their calls belong to."""

    def run(batches: Batches) -> Batches:
        store = BatchStore(folder)
        for name in (name for batch in batches for name in batch.column("name").to_pylist()):
            keys = [call["parent_key"] or call["key"] for call in store.calls(name)]
            yield pa.RecordBatch.from_pydict({"key": pa.array(keys, pa.string())})

    return run


def files_of(sending: Sending, folder: str, expected: Expected, jobs: Iterator[Job]) -> Iterator[BatchFile]:
    """Write the calls of these jobs into files below `folder`; each is told once it is durable."""
    store, llm = BatchStore(folder), sending.settings
    origin = Origin(sending.stage, sending.run_id, llm.teacher)
    file: _File | None = None
    with SpoolWriter(sending.spool, sending.stage, sending.run_id, partition_id()) as spool:
        for job in jobs:
            call, obstacle = _call_of(job, sending)
            parent_key = None if job.further is None else job.request.key
            words = words_of(job.further, job.prompt_sha)
            line = b"" if obstacle else request_line(call)
            if len(line) > llm.batch_bytes:
                obstacle = f"the request has {len(line):,} bytes, and a batch file may hold {llm.batch_bytes:,}"
            if obstacle:
                reply: Reply = failed(ErrorKind.CONTEXT_TOO_LONG, obstacle)
                row = call_row(origin, words, call, reply, parent_key)
                row["id"] = hashlib.sha256(f"{call.key}\n{sending.run_id}\nnot sent".encode()).hexdigest()
                spool.append(row).result()
                continue
            tokens = expected.tokens_in(call)
            if file is not None and not file.has_room(len(line), tokens, llm):
                yield file.close()
                file = None
            file = file or _File(store)
            file.add(line, call_line(call, parent_key, words), tokens, expected.usd(call))
        if file is not None:
            yield file.close()


def _call_of(job: Job, sending: Sending) -> tuple[Request, str | None]:
    """The call that a job still needs, and why it must not be sent, if so."""
    if job.further is None:
        return job.request, job.too_long
    call = further_request(job.request, job.further, job.known_text or "", sending.settings.raised_max_tokens)
    return call, sending.obstacle(call)


class _File:
    """One batch file being written."""

    def __init__(self, store: BatchStore) -> None:
        self._name = uuid.uuid4().hex  # never twice, not even from a repeated task
        self._input, self._calls = store.write(self._name, INPUT), store.write(self._name, CALLS)
        self._sha, self._requests, self._size, self._tokens, self._usd = hashlib.sha256(), 0, 0, 0, 0.0

    def has_room(self, size: int, tokens: int, llm: LlmSettings) -> bool:
        """Whether a further request stays within the limits; the first one may have too many tokens, for they are
        estimated."""
        within = llm.batch_tokens is None or self._tokens + tokens <= llm.batch_tokens
        return within and self._requests < llm.batch_requests and self._size + size <= llm.batch_bytes

    def add(self, line: bytes, call: bytes, tokens: int, usd: float) -> None:
        self._input.write(line)
        self._calls.write(call)
        self._sha.update(line)
        self._requests, self._size, self._usd = self._requests + 1, self._size + len(line), self._usd + usd
        self._tokens += tokens

    def close(self) -> BatchFile:
        self._input.close()
        self._calls.close()
        return BatchFile(
            name=self._name,
            requests=self._requests,
            size=self._size,
            sha256=self._sha.hexdigest(),
            expected_usd=self._usd,
        )
