"""What the tests on calls share: the canary key, settings for a fake server, request rows, scripted teachers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tests.fake_server.client import FakeServer
from udfs.llm.calls import CallRow
from udfs.llm.requests import REQUEST_SCHEMA, build_requests
from udfs.llm.spool import list_segments, read_segment
from udfs.llm.teacher import Reply, Request
from udfs.settings import LlmSettings

KEY_NAME = "LONGLOOM_TEST_KEY"
KEY = "canary-7d41f0c9e2"  # must appear in no reply, row or file
GOOD = '{"label": "Good"}'


def settings_for(server: FakeServer, **changes: Any) -> LlmSettings:
    """Settings for a server, with changes."""
    plain = {
        "teacher": "openai",
        "base_url": server.base_url,
        "model": "fake-1",
        "api_key_env": KEY_NAME,
        "timeout_s": 5.0,
        "concurrency": 8,
    }
    return LlmSettings(**{**plain, **changes})


def request_rows(
    texts: Sequence[str], settings: LlmSettings | None = None, documents: Sequence[str | None] = ()
) -> pa.RecordBatch:
    """Request rows of the task `type_label`, one per text, as the pipeline builds them."""
    inputs = pa.RecordBatch.from_pydict(
        {
            "input_id": [f"input-{index}" for index in range(len(texts))],
            "document": pa.array(documents or [None] * len(texts), pa.string()),
            "variables": [json.dumps({"examples": [text], "taken": []}) for text in texts],
        }
    )
    (rows,) = build_requests("type_label", settings or LlmSettings())(iter([inputs]))
    return rows


def with_known_text(rows: pa.RecordBatch, texts: Mapping[str, str]) -> pa.RecordBatch:
    """The rows with the column that asks for a correction turn only, for the keys that have one."""
    keys = rows.column("key").to_pylist()
    known = pa.array([texts.get(key) for key in keys], pa.string())
    further = pa.array(["correction" if key in texts else None for key in keys], pa.string())
    schema = REQUEST_SCHEMA.append(pa.field("known_text", pa.string())).append(pa.field("further", pa.string()))
    return pa.RecordBatch.from_arrays([*rows.columns, known, further], schema=schema)


def in_batches(rows: pa.RecordBatch, size: int) -> Iterable[pa.RecordBatch]:
    """The rows in Arrow batches of at most `size`."""
    return (rows.slice(start, size) for start in range(0, rows.num_rows, size))


def text_of(request: Request) -> str:
    """The text a row of `request_rows` was made for."""
    return str(request.variables["examples"][0])


def outcomes(batches: Iterable[pa.RecordBatch]) -> dict[str, dict[str, Any]]:
    """Outcome rows by key; a key must come once."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def spooled(spool: str, stage: str | None = None) -> list[CallRow]:
    """All call rows in a spool, or those of a stage."""
    return [row for segment in list_segments(spool, stage) for row in read_segment(segment)]


class Scripted:
    """A teacher that follows a script and remembers what it was asked, in order."""

    def __init__(self, script: Callable[[Request], Awaitable[Reply]]) -> None:
        self._script = script
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0

    async def complete(self, request: Request) -> Reply:
        """Follow the script."""
        self.asked.append(text_of(request))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._script(request)
        finally:
            self.in_flight -= 1
