"""The columns of the source tables and the building of bounded Arrow batches from rows.

Rows come as dictionaries with any subset of the columns; what is absent is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

MAX_BATCH_BYTES = 16 * 1024 * 1024
MAX_BATCH_ROWS = 1_000  # with long documents the best of 100, 1,000 and 10,000

TURN = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])

DOCUMENT_SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),  # id of the source_files row
        ("path", pa.string()),
        ("position", pa.int64()),  # 0-based line, element or row; -1 speaks of the whole file
        ("content_hash", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("language", pa.string()),
        ("meta", pa.string()),  # JSON
        ("reject_reason", pa.string()),
    ]
)
CONVERSATION_SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("path", pa.string()),
        ("position", pa.int64()),
        ("content_hash", pa.string()),
        ("conversation_id", pa.string()),
        ("turns", pa.list_(pa.field("element", TURN))),
        ("user_text", pa.string()),
        ("assistant_text", pa.string()),
        ("n_turns", pa.int32()),  # of the user
        ("model", pa.string()),
        ("language", pa.string()),
        ("toxic", pa.bool_()),
        ("redacted", pa.bool_()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("meta", pa.string()),
        ("reject_reason", pa.string()),
    ]
)
IMPORT_SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("path", pa.string()),
        ("position", pa.int64()),
        ("content_hash", pa.string()),
        ("record_id", pa.string()),
        ("context", pa.string()),
        ("instruction", pa.string()),
        ("response", pa.string()),
        ("messages", pa.list_(pa.field("element", TURN))),
        ("split", pa.string()),  # what parted context and instruction
        ("document_type", pa.string()),
        ("language", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("meta", pa.string()),
        ("reject_reason", pa.string()),
    ]
)
SCHEMAS = {"documents": DOCUMENT_SCHEMA, "conversations": CONVERSATION_SCHEMA, "imports": IMPORT_SCHEMA}

SPARK_TYPES = {
    pa.string(): "string",
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.bool_(): "boolean",
}


def spark_ddl(schema: pa.Schema) -> str:
    """The schema in Spark's words."""
    turns = "array<struct<role:string,content:string>>"
    return ", ".join(f"{field.name} {SPARK_TYPES.get(field.type, turns)}" for field in schema)


DOCUMENT_FIELDS = spark_ddl(DOCUMENT_SCHEMA)
CONVERSATION_FIELDS = spark_ddl(CONVERSATION_SCHEMA)
IMPORT_FIELDS = spark_ddl(IMPORT_SCHEMA)

Row = dict[str, Any]


class Batches:
    """Collects rows and hands them out as record batches of bounded size."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows: list[Row] = []
        self.size = 0

    def add(self, row: Row) -> Iterator[pa.RecordBatch]:
        """Take a row; a batch when enough has come together."""
        size = row_bytes(row)
        if self.rows and self.size + size > MAX_BATCH_BYTES:
            yield self.take()
        self.rows.append(row)
        self.size += size
        if len(self.rows) >= MAX_BATCH_ROWS:
            yield self.take()

    def rest(self) -> Iterator[pa.RecordBatch]:
        """What is left."""
        if self.rows:
            yield self.take()

    def take(self) -> pa.RecordBatch:
        rows, self.rows, self.size = self.rows, [], 0
        columns = [column(field, [row.get(field.name) for row in rows]) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def column(field: pa.Field, values: list[Any]) -> pa.Array:
    """One Arrow column; turns are built from flat lists, which is much cheaper than from dictionaries."""
    if not pa.types.is_list(field.type):
        return pa.array(values, field.type)
    return turn_lists(values).cast(field.type)


def turn_lists(values: Sequence[Sequence[tuple[str, str]] | None]) -> pa.Array:
    offsets: list[int | None] = []
    count = 0
    for turns in values:
        offsets.append(None if turns is None else count)
        count += len(turns or ())
    flat = [turn for turns in values for turn in turns or ()]
    roles = pa.array([role for role, _ in flat], pa.string())
    contents = pa.array([content for _, content in flat], pa.string())
    structs = pa.StructArray.from_arrays([roles, contents], fields=list(TURN))
    return pa.ListArray.from_arrays(pa.array([*offsets, count], pa.int32()), structs)


def row_bytes(row: Row) -> int:
    """About how much room a row takes: UTF-8 is at most four bytes a character, mostly one."""
    size = 200
    for value in row.values():
        if isinstance(value, str):
            size += text_bytes(value)
        elif isinstance(value, list):
            size += sum(text_bytes(content) for _, content in value)
    return size


def text_bytes(text: str) -> int:
    """UTF-8 length, exact for ASCII and an upper bound otherwise."""
    return len(text) if text.isascii() else 4 * len(text)
