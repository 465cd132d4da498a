"""Turns listed input files into source rows on the executors, one row for every line, element or table row.

Nothing in a file can stop it: a bad record becomes a row with a reason, a bad file a row with position -1. A file that
could not be reached becomes one that is to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from udfs.readers.arrays import elements, starts_with_bracket
from udfs.readers.conversations import conversation_fields
from udfs.readers.documents import document_fields
from udfs.readers.errors import FileFault
from udfs.readers.formats import FORMATS, KINDS, format_of
from udfs.readers.imports import import_fields
from udfs.readers.listing import Stamp, hash_content, stamp
from udfs.readers.records import Decoded, canonical_json, decode_json, decode_text, sha256
from udfs.readers.schemas import SCHEMAS, Batches, Row
from udfs.readers.streams import (
    MAX_LINE_BYTES,
    Blanks,
    Line,
    decompressed,
    lines,
    open_bytes,
)
from udfs.readers.tables import table_rows

MANY_BLANKS = 1_000  # so many blank lines are named, fewer are ordinary
TO_FIELDS = {"conversations": conversation_fields, "documents": document_fields, "imports": import_fields}

MapArrow = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class SourceFile:
    """A row of `source_files`; the last three guard against a file rewritten since it was listed."""

    id: str
    path: str
    format: str
    size: int | None = None
    mtime_ns: int | None = None
    content_hash: str | None = None


@dataclass(frozen=True)
class Item:
    """One record of a file before its kind looked at it."""

    position: int
    decoded: Decoded
    raw: bytes | None = None  # as stored, where a format has bytes per record


def read_files(kind: str) -> MapArrow:
    """The function for DataFrame.mapInArrow over `source_files` rows (id, path, format, …).

    Its output has DOCUMENT_FIELDS, CONVERSATION_FIELDS or IMPORT_FIELDS, in batches of about 16 MiB at most.
    Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no reader for {kind!r}; there is one for {' and for '.join(KINDS)}.")

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        output = Batches(SCHEMAS[kind])
        for batch in batches:
            for values in batch.to_pylist():
                for row in read_file(source_file(values), kind):
                    yield from output.add(row)
        yield from output.rest()

    return read


def source_file(values: dict[str, Any]) -> SourceFile:
    """Only the columns a reader knows; the table has more."""
    known = {name: values.get(name) for name in SourceFile.__dataclass_fields__}
    return SourceFile(**known)  # type: ignore[arg-type]


def read_file(file: SourceFile, kind: str) -> Iterator[Row]:
    """All rows of one file, the row that speaks of the file itself (position -1) last."""
    blanks, found = Blanks(), 0
    try:
        before = refuse_changed(file)
        for item in items(file, kind, blanks):
            found += 1
            yield item_row(file, item, kind)
        refuse_changed(file, before)  # while it was read
    except FileFault as fault:
        yield file_row(file, fault, {"detail": fault.detail, "records": found})
        return
    if not found:
        yield file_row(file, FileFault("no_records"), {"blank_lines": blanks.count})
    elif blanks.count >= MANY_BLANKS:
        yield file_row(file, FileFault("blank_lines"), {"blank_lines": blanks.count})


def refuse_changed(file: SourceFile, before: Stamp | None = None) -> Stamp | None:
    """The file as it stands now. Raises FileFault("changed") when it is no longer the one that was listed.

    A rewritten file is listed anew with its new content, so reading it here would mix the two. With `before` it must
    not have been written since then, either. A file that was only touched is told by its content.
    """
    if file.content_hash is None:
        return None
    now = stamp(file.path)
    same = now.stands_as(file.size, file.mtime_ns) and before in (None, now)
    if not same and hash_content(file.path) != file.content_hash:
        raise FileFault("changed", "rewritten after it was listed; its new content is read as a new file")
    return now


def items(file: SourceFile, kind: str, blanks: Blanks) -> Iterator[Item]:
    """The records of a file of any format."""
    name = file.format if file.format in FORMATS else format_of(file.path, kind)
    if name is None:
        raise FileFault("unknown_format", str(file.format)[:100])
    base, _, compression = name.partition(".")
    with open_bytes(file.path) as handle:
        if base == "parquet":
            for row in table_rows(handle, kind):
                yield Item(row.position, Decoded(row.record, row.reason))
            return
        pieces = decompressed(handle, compression or None)
        if base == "text":
            yield whole_text(pieces)
            return
        is_array = False
        if base == "json":
            is_array, pieces = starts_with_bracket(pieces)
        yield from line_items(elements(pieces) if is_array else lines(pieces, blanks))


def line_items(found: Iterator[Line]) -> Iterator[Item]:
    """Decode lines; a fragment of a torn file counts only when it is a whole record after all."""
    for line in found:
        decoded = TOO_LARGE if line.raw is None else decode_json(line.raw)
        if not (line.fragment and decoded.reason):
            yield Item(line.position, decoded, line.raw)


TOO_LARGE = Decoded(None, "too_large_line", f"over {MAX_LINE_BYTES} bytes")


def whole_text(pieces: Iterator[bytes]) -> Item:
    """A text file is one document, and is read no further than a line may be long."""
    held, size = list[bytes](), 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > MAX_LINE_BYTES:
            return Item(0, Decoded(None, "too_large_text", f"over {MAX_LINE_BYTES} bytes"))
    raw = b"".join(held)
    return Item(0, decode_text(raw), raw)


def item_row(file: SourceFile, item: Item, kind: str) -> Row:
    """The row of one record, good or quarantined."""
    base: Row = {"source_file": file.id, "path": file.path, "position": item.position}
    fields: Row | str | None = item.decoded.reason
    if item.decoded.record is not None:
        fields = TO_FIELDS[kind](item.decoded.record)
    if isinstance(fields, dict):
        return {**base, **fields}
    reason = fields or "bad_json"
    detail = {"detail": item.decoded.detail or None, "bytes": None if item.raw is None else len(item.raw)}
    kept = {key: value for key, value in detail.items() if value is not None}
    return {
        **base,
        "content_hash": quarantine_hash(file.id, item.position, item.raw, reason),
        "meta": canonical_json(kept) if kept else None,
        "reject_reason": reason,
    }


def file_row(file: SourceFile, fault: FileFault, meta: dict[str, Any]) -> Row:
    """The row that speaks of the whole file."""
    return {
        "source_file": file.id,
        "path": file.path,
        "position": -1,
        "content_hash": quarantine_hash(file.id, -1, None, fault.reason),
        "meta": canonical_json(meta),
        "reject_reason": fault.row_reason,
    }


def quarantine_hash(source_file: str, position: int, raw: bytes | None, reason: str) -> str:
    """Identity of a row without content: where it stood, and its bytes where there are some."""
    content = reason.encode() if raw is None else raw
    return sha256(f"{source_file}\0{position}\0".encode() + content)
