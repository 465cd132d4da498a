"""The spool: finished calls as lines of JSON on the root's own storage, durable before anybody hears of them.

It knows nothing of how calls are made; folding segments into a table is the ledger's work.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Protocol

import fsspec

from udfs.llm.calls import CALL_SCHEMA, CallRow

__all__ = [
    "Segment",
    "SpoolUnavailable",
    "SpoolWriter",
    "list_segments",
    "open_storage",
    "read_segment",
    "remove_segments",
    "segment_writer",
]

OBJECT_GROUP_SECONDS = 2.0  # the loss window on storage that cannot append
GROUP_BYTES = 8 << 20  # a group is written at once when it is this large
_MOUNTED_OBJECT_STORES = ("/Volumes/", "/dbfs/")  # look local, but cannot append
_NAME = re.compile(r"[A-Za-z0-9_.\-]+")


class SpoolUnavailable(OSError):
    """The spool cannot be written or read; calls must not be made, for their replies would be lost."""


@dataclass(frozen=True)
class Segment:
    """One spool file: `name` is unique for ever and goes into row ids, `url` is where it lies."""

    name: str
    url: str
    partition: int


def _segment_name(run_id: str, partition: int) -> str:
    if not _NAME.fullmatch(run_id):
        raise ValueError(f"run id {run_id!r} cannot be part of a file name; use letters, digits, _ . -")
    # A name must never come twice, not even from a retried attempt: only chance gives that.
    return f"{run_id}~p{partition:05d}~{uuid.uuid4().hex}"


def _partition_of(name: str) -> int:
    parts = name.split("~")
    return int(parts[1][1:]) if len(parts) >= 3 and parts[1][1:].isdigit() else -1


def open_storage(url: str) -> tuple[Any, str, bool]:
    """(filesystem, path in it, whether files there can be appended to)."""
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SpoolUnavailable(f"spool {url}: {error}. Install the fsspec driver of that scheme.") from error
    local = "file" in _protocols(filesystem) and not path.startswith(_MOUNTED_OBJECT_STORES)
    return filesystem, path, local


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


class _Sink(Protocol):
    """Where groups of lines go; a group is durable when `write` returns."""

    linger: float

    def write(self, lines: bytes) -> None: ...

    def close(self) -> None: ...


class _LocalSink:
    """Appends to one file and syncs it: written at once, so the loss window is the calls in flight."""

    linger = 0.0

    def __init__(self, folder: str, name: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._path = str(Path(folder) / f"{name}.jsonl")
        self._file: int | None = None

    def write(self, lines: bytes) -> None:
        if self._file is None:  # opened late: a task that sends nothing leaves no file
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        os.fsync(self._file)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)


class _ObjectSink:
    """Writes each group as an object of its own: object stores cannot append."""

    linger = OBJECT_GROUP_SECONDS

    def __init__(self, filesystem: Any, folder: str, name: str) -> None:
        self._filesystem, self._folder, self._name = filesystem, folder.rstrip("/"), name
        self._groups = 0
        filesystem.makedirs(self._folder, exist_ok=True)

    def write(self, lines: bytes) -> None:
        self._groups += 1
        self._filesystem.pipe_file(f"{self._folder}/{self._name}-{self._groups:06d}.jsonl", lines)

    def close(self) -> None:
        pass


class SpoolWriter:
    """Writes the calls of one task attempt; a context manager.

    `append` never blocks: it returns a future that resolves when the row is durable. Rows that come while a
    group is being synced form the next group, so one sync serves many calls.
    """

    def __init__(self, spool: str, stage: str, run_id: str, partition: int = 0) -> None:
        self.name = _segment_name(run_id, partition)
        filesystem, path, local = open_storage(f"{spool.rstrip('/')}/{stage}")
        self._where = f"{spool.rstrip('/')}/{stage}/{self.name}"
        try:
            self._sink: _Sink = _LocalSink(path, self.name) if local else _ObjectSink(filesystem, path, self.name)
        except OSError as error:
            raise SpoolUnavailable(f"spool {self._where} cannot be made: {error}") from error
        self._queue: SimpleQueue[tuple[bytes, Future[None]] | None] = SimpleQueue()
        self._thread = Thread(target=self._write_groups, name="longloom-spool", daemon=True)
        self._thread.start()

    def append(self, row: CallRow) -> Future[None]:
        """Queue one row; the future fails with SpoolUnavailable when it cannot be kept."""
        durable: Future[None] = Future()
        line = json.dumps({key: value for key, value in row.items() if value is not None}, ensure_ascii=True)
        self._queue.put((line.encode("ascii") + b"\n", durable))
        return durable

    def close(self) -> None:
        """Write what is queued and end; may be called twice."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def __enter__(self) -> SpoolWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_groups(self) -> None:
        last = False
        while not last:
            group, last = self._next_group()
            self._write(group)
        self._sink.close()

    def _next_group(self) -> tuple[list[tuple[bytes, Future[None]]], bool]:
        """All rows that are waiting, or that come within the sink's linger; True when it was the last."""
        first = self._queue.get()
        if first is None:
            return [], True
        group, size, deadline = [first], len(first[0]), monotonic() + self._sink.linger
        while size < GROUP_BYTES:
            left = deadline - monotonic()
            try:
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                return group, False
            if item is None:
                return group, True
            group.append(item)
            size += len(item[0])
        return group, False

    def _write(self, group: list[tuple[bytes, Future[None]]]) -> None:
        if not group:
            return
        try:
            self._sink.write(b"".join(line for line, _ in group))
        except Exception as error:
            lost = SpoolUnavailable(f"spool {self._where} cannot be written, so no call is made: {error}")
            for durable in _waited_for(group):
                durable.set_exception(lost)
        else:
            for durable in _waited_for(group):
                durable.set_result(None)


@contextmanager
def segment_writer(spool: str, stage: str, name: str) -> Iterator[Callable[[bytes], None]]:
    """Writes whole lines into a segment of the given name, which is durable when the context ends.

    For rows that bring their ids: the name may come again, and replaces what it held. Raises SpoolUnavailable.
    """
    filesystem, path, local = open_storage(f"{spool.rstrip('/')}/{stage}")
    try:
        filesystem.makedirs(path, exist_ok=True)
        with filesystem.open(f"{path}/{name}.jsonl", "wb") as file:
            yield file.write
            if local:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise SpoolUnavailable(f"spool {path}/{name} cannot be written: {error}") from error


def _waited_for(group: list[tuple[bytes, Future[None]]]) -> Iterator[Future[None]]:
    """Futures that nobody gave up meanwhile: to settle one that was cancelled would end the writing thread."""
    return (durable for _, durable in group if durable.set_running_or_notify_cancel())


def list_segments(spool: str, stage: str | None = None) -> list[Segment]:
    """All segments below a spool, or those of one stage, by name; none when the folder does not exist."""
    filesystem, path, _ = open_storage(f"{spool.rstrip('/')}/{stage}" if stage else spool.rstrip("/"))
    filesystem.invalidate_cache()
    if not filesystem.exists(path):
        return []
    found = [name for name in filesystem.find(path) if name.endswith(".jsonl")]
    segments = [(Path(name).stem, filesystem.unstrip_protocol(name)) for name in sorted(found)]
    return [Segment(name, url, _partition_of(name)) for name, url in segments]


def read_segment(segment: Segment) -> list[CallRow]:
    """The rows of one segment, with ids. A torn last line, left by a kill in mid-write, is no row."""
    filesystem, path, _ = open_storage(segment.url)
    lines = bytes(filesystem.cat_file(path)).split(b"\n")
    rows = []
    for number, line in enumerate(lines[:-1]):  # what follows the last newline is torn, or nothing
        row = _row(line)
        if row is not None:
            raw_id = f"{row['key']}\n{segment.name}\n{number}"
            # A result of a batch brings its own: it may be collected twice, into segments of different names.
            row["id"] = row["id"] or hashlib.sha256(raw_id.encode("utf-8")).hexdigest()
            rows.append(row)
    return rows


def _row(line: bytes) -> CallRow | None:
    """A call row from a line, or None for a line that was damaged on the disk."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or "key" not in found:
        return None
    row: Any = {name: found.get(name) for name in CALL_SCHEMA.names}
    call: CallRow = row
    return call


def remove_segments(segments: list[Segment]) -> None:
    """Delete segments whose rows are safe elsewhere; one that is gone already is no fault."""
    for segment in segments:
        filesystem, path, _ = open_storage(segment.url)
        if filesystem.exists(path):
            filesystem.rm_file(path)
