"""Reads a parquet file row group by row group, only the columns that a record needs.

A broken row group costs its own rows; the others are read and the loss is said at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.readers import conversations, documents, imports
from udfs.readers.errors import FileFault
from udfs.readers.formats import describe, fits
from udfs.readers.streams import Watched

BATCH_ROWS = 128
BUFFER_BYTES = 1024 * 1024  # read column chunks as a stream instead of whole


class TableRow(NamedTuple):
    """A row as a dictionary, or the reason why its values cannot be read."""

    position: int
    record: dict[str, Any] | None
    reason: str | None = None


def table_rows(handle: BinaryIO, kind: str) -> Iterator[TableRow]:
    """All rows that can be read.

    Raises FileFault: empty, torn (footer or row groups broken, after the readable rows), unknown_columns, and what
    keeps the file from being read, at once.
    """
    watched = Watched(handle)
    if not watched.read(1):
        raise FileFault("empty", "zero bytes")
    watched.seek(0)
    try:
        table = pq.ParquetFile(watched, pre_buffer=False, buffer_size=BUFFER_BYTES)
        schema, groups = table.schema_arrow, table.metadata.num_row_groups
    except (OSError, pa.ArrowException) as error:
        raise watched.fault or FileFault("torn", f"parquet footer: {error}"[:300]) from error
    if not fits(schema, kind):
        raise FileFault("unknown_columns", describe(schema)[:300])
    columns = wanted_columns(table.metadata.schema, kind)
    start, broken = 0, list[str]()
    for group in range(groups):
        try:
            yield from group_rows(table, group, columns, start)
        except (OSError, pa.ArrowException) as error:
            if watched.fault:
                raise watched.fault from error
            broken.append(f"row group {group}: {error}"[:150])
        start += table.metadata.row_group(group).num_rows
    if broken:
        raise FileFault("torn", "; ".join(broken)[:300])


def group_rows(table: pq.ParquetFile, group: int, columns: Sequence[str], position: int) -> Iterator[TableRow]:
    batches = table.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns), use_threads=False)
    for batch in batches:
        yield from batch_rows(without_zones(batch), position)
        position += batch.num_rows


def batch_rows(batch: pa.RecordBatch, position: int) -> Iterator[TableRow]:
    """Rows as dictionaries; when the batch holds a value Python cannot take, one row at a time."""
    try:
        for offset, record in enumerate(batch.to_pylist()):
            yield TableRow(position + offset, record)
        return
    except (ValueError, OverflowError):  # UnicodeDecodeError among them: nothing was yielded yet
        pass
    for offset in range(batch.num_rows):
        yield one_row(batch.slice(offset, 1), position + offset)


def one_row(row: pa.RecordBatch, position: int) -> TableRow:
    try:
        return TableRow(position, row.to_pylist()[0])
    except UnicodeDecodeError:
        return TableRow(position, None, "not_utf8")
    except (ValueError, OverflowError):
        return TableRow(position, None, "bad_values")


def without_zones(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Timestamps as plain UTC: machines differ in the time-zone names they know."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            moments = batch.column(index).cast(pa.timestamp("us"), safe=False)
            batch = batch.set_column(index, field.name, moments)
    return batch


def wanted_columns(schema: pq.ParquetSchema, kind: str) -> list[str]:
    """Leaf paths to read; writers name the levels of a list differently, so only first and last part count."""
    paths = [schema.column(index).path for index in range(len(schema))]
    return [path for path in paths if WANTED[kind](path)]


def wanted_document(path: str) -> bool:
    return path.split(".", 1)[0] in documents.PARQUET_COLUMNS


def wanted_turns(columns: Sequence[str], leaves: Sequence[tuple[str, str]]) -> Callable[[str], bool]:
    """Whole columns by name, and of columns of turns the leaves that are read."""

    def wanted(path: str) -> bool:
        first, _, rest = path.partition(".")
        if not rest:
            return first in columns
        return (first, rest.rsplit(".", 1)[-1]) in leaves

    return wanted


WANTED: dict[str, Callable[[str], bool]] = {
    "documents": wanted_document,
    "conversations": wanted_turns(conversations.PARQUET_COLUMNS, conversations.PARQUET_LEAVES),
    "imports": wanted_turns(imports.PARQUET_COLUMNS, imports.PARQUET_LEAVES),
}
