"""The row that a finished call leaves behind, in the spool and in the ledger alike.

It is a shape and nothing else. Messages are not kept: they can be rebuilt from their inputs.
"""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

CALL_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.string()),
        ("parent_key", pa.string()),
        ("stage", pa.string()),
        ("task", pa.string()),
        ("run_id", pa.string()),
        ("teacher", pa.string()),
        ("model", pa.string()),
        ("status", pa.string()),
        ("error_kind", pa.string()),
        ("error", pa.string()),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("tokens_cached", pa.int64()),
        ("seconds", pa.float64()),
        ("prompt_sha", pa.string()),
        ("parameters", pa.string()),
    ]
)
_SPARK_NAMES = {"string": "string", "int64": "bigint", "double": "double"}
CALL_DDL = ", ".join(f"{field.name} {_SPARK_NAMES[str(field.type)]}" for field in CALL_SCHEMA)


class CallRow(TypedDict):
    """One finished call; `id` is sha256 of key, segment and line, set when the segment is read, where it has none."""

    id: str | None
    key: str
    parent_key: str | None
    stage: str
    task: str
    run_id: str
    teacher: str
    model: str | None
    status: str
    error_kind: str | None
    error: str | None
    text: str | None
    finish_reason: str | None
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    seconds: float
    prompt_sha: str
    parameters: str
