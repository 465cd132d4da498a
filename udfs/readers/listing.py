"""Lists the files behind the globs of the settings, and hashes their content.

It reports everything that is wrong with them at once and reads no record.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from udfs.readers.errors import FileFault, InputFault, InputFaults, UnreadableInput
from udfs.readers.formats import KINDS, detect_format, format_of, known_endings
from udfs.readers.streams import READ_BYTES, as_file_fault, is_local, open_bytes

MAGIC = frozenset("*?[")
SECOND_NS = 1_000_000_000
TAGS = ("ETag", "etag", "generation")
HIDDEN = ("_", ".")  # markers and checksums that Spark and editors leave beside data


@dataclass(frozen=True)
class InputFile:
    """One file to be read."""

    path: str  # absolute, or with its scheme
    size: int
    mtime_ns: int
    kind: str
    format: str


@dataclass(frozen=True)
class Found:
    """A path with what its file system says of it."""

    path: str
    info: dict[str, Any]
    skipped: bool = False  # a file below a folder, of a kind that is not read

    @property
    def is_folder(self) -> bool:
        return self.info.get("type") == "directory"


def list_inputs(
    globs: Sequence[str],
    kind: str,
    seen: Callable[[InputFile], bool] | None = None,
    skipped: list[str] | None = None,
) -> list[InputFile]:
    """The files of files, folders and globs (any fsspec scheme), once each, sorted by path.

    A folder gives all readable files below it, and its files of other endings are added to `skipped`, but for hidden
    ones; only what is named outright or matched by a glob can be of an unknown kind. The columns of a parquet file are
    looked at, unless it was `seen` before. Raises InputFaults with every missing path, empty glob or folder, file of an
    unknown kind and parquet file of other columns; ValueError for an unknown kind of input.
    """
    if kind not in KINDS:
        raise ValueError(f"There are inputs of kind {' and '.join(KINDS)}, not {kind!r}.")
    faults: list[InputFault] = []
    files: dict[str, InputFile] = {}
    passed: set[str] = set()
    for entry in globs:
        try:
            for found in matches(entry, kind):
                if found.skipped:
                    passed.add(found.path)
                elif found.path not in files:
                    add_file(files, found, kind, seen, faults)
        except InputFaults as error:
            faults.extend(error.faults)
    if faults:
        raise InputFaults(list(dict.fromkeys(faults)))
    if skipped is not None:
        skipped.extend(sorted(passed))
    return [files[path] for path in sorted(files)]


def add_file(
    files: dict[str, InputFile],
    found: Found,
    kind: str,
    seen: Callable[[InputFile], bool] | None,
    faults: list[InputFault],
) -> None:
    try:
        files[found.path] = input_file(found, kind, seen)
    except UnreadableInput as error:
        code = "unknown_kind" if format_of(found.path, kind) is None else "unknown_columns"
        faults.append(InputFault(found.path, code, str(error)))


def matches(entry: str, kind: str) -> list[Found]:
    """What one entry of the settings stands for, with what is skipped below folders.

    Raises InputFaults with one fault when nothing of it can be read.
    """
    try:
        files, pattern = url_to_fs(os.path.expanduser(entry))  # noqa: PTH111 (a URL is not a Path)
        found = literal(files, pattern) or globbed(files, pattern)
        outcome = [full for item in found for full in unfolded(files, item, kind)]
    except Exception as error:  # the clients of remote stores have errors of their own
        raise fault(entry, "unreachable", f"{entry} cannot be listed: {type(error).__name__}: {error}.") from error
    if any(not item.skipped for item in outcome):
        name = url_maker(files, entry, pattern)
        return [replace(item, path=name(item.path)) for item in outcome]
    if found:
        text = f"{entry} holds no file that can be read as {kind} ({known_endings(kind)})."
        raise fault(entry, "empty_folder", text)
    if MAGIC.intersection(entry):
        raise fault(entry, "empty_glob", f"{entry} matches no file. Check the path, or drop it from inputs.{kind}.")
    raise fault(entry, "missing", f"{entry} does not exist. Check the path, or drop it from inputs.{kind}.")


def fault(entry: str, code: str, sentence: str) -> InputFaults:
    return InputFaults([InputFault(entry, code, sentence)])


def literal(files: AbstractFileSystem, path: str) -> list[Found]:
    """The path itself when it exists, even if it has brackets in its name."""
    try:
        return [Found(path, dict(files.info(path)))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def globbed(files: AbstractFileSystem, pattern: str) -> list[Found]:
    if not MAGIC.intersection(pattern):
        return []
    hidden_asked = pattern.rsplit("/", 1)[-1].startswith(HIDDEN)
    return [
        Found(path, dict(info))
        for path, info in sorted(files.glob(pattern, detail=True).items())
        if hidden_asked or not path.rsplit("/", 1)[-1].startswith(HIDDEN)
    ]


def unfolded(files: AbstractFileSystem, item: Found, kind: str) -> Iterator[Found]:
    """A file as it is, a folder as its files, those that cannot be read marked as skipped.

    An empty folder called like a file stays: its row will say `file:not_a_file`.
    """
    if not item.is_folder:
        yield item
        return
    below = files.find(item.path, withdirs=True, detail=True)
    inner = [Found(path, dict(info)) for path, info in sorted(below.items()) if path != item.path]
    seen = [each for each in inner if not is_hidden(item, each)]
    readable = [each for each in seen if readable_below(each, inner, kind)]
    yield from readable
    yield from (replace(each, skipped=True) for each in seen if not each.is_folder and not format_of(each.path, kind))
    if not readable and format_of(item.path, kind):
        yield item


def is_hidden(folder: Found, item: Found) -> bool:
    """Whether a part of the path inside the folder is hidden."""
    parts = item.path[len(folder.path) :].strip("/").split("/")
    return any(part.startswith(HIDDEN) for part in parts)


def readable_below(item: Found, inner: Sequence[Found], kind: str) -> bool:
    """Whether a path in a folder is data by its ending: a file, or a folder called like one that holds nothing."""
    if format_of(item.path, kind) is None:
        return False
    return not (item.is_folder and any(each.path.startswith(item.path + "/") for each in inner))


def url_maker(files: AbstractFileSystem, entry: str, pattern: str) -> Callable[[str], str]:
    """A function from a path inside the file system to the name that opens it anywhere.

    Accounts and hosts stand in the entry only, so its head is kept rather than rebuilt from the scheme.
    """
    if isinstance(files, LocalFileSystem):
        return lambda path: path
    shared = 0
    while shared < min(len(entry), len(pattern)) and entry[-shared - 1] == pattern[-shared - 1]:
        shared += 1
    head, inside = entry[: len(entry) - shared], len(pattern) - shared
    return lambda path: head + path[inside:]


def input_file(found: Found, kind: str, seen: Callable[[InputFile], bool] | None = None) -> InputFile:
    """The file with its format. Raises UnreadableInput."""
    size, mtime_ns = int(found.info.get("size") or 0), remote_mtime(found.info)
    if is_local(found.path):
        try:
            status = Path(found.path).stat()
            size, mtime_ns = status.st_size, status.st_mtime_ns
        except OSError:  # a dangling link: its row will say so
            size, mtime_ns = 0, 0
    file = InputFile(found.path, size, mtime_ns, kind, format_of(found.path, kind) or "")
    if file.format == "parquet" and seen is not None and seen(file):  # opening it is a request, or several
        return file
    return replace(file, format=detect_format(found.path, kind))


@dataclass(frozen=True)
class Stamp:
    """What tells one state of a file from another without reading it."""

    size: int
    mtime_ns: int
    tag: str = ""  # as a store gives it to each content

    def stands_as(self, size: int | None, mtime_ns: int | None) -> bool:
        """Whether this is the file that was listed with this size and time.

        Stores list a file with milliseconds, and tell whole seconds of it when they are asked for it alone.
        """
        if self.size != size or mtime_ns is None:
            return False
        rough = 0 in (self.mtime_ns % SECOND_NS, mtime_ns % SECOND_NS)
        return self.mtime_ns == mtime_ns or (rough and self.mtime_ns // SECOND_NS == mtime_ns // SECOND_NS)


def stamp(path: str) -> Stamp:
    """The file as its file system tells of it now. Raises FileFault."""
    with as_file_fault():
        if is_local(path):
            status = Path(path).stat()
            return Stamp(status.st_size, status.st_mtime_ns)
        files, name = url_to_fs(path)
        files.invalidate_cache()  # clients remember listings, and a worker lives for long
        info = files.info(name)
        tag = next((str(info[key]) for key in TAGS if info.get(key)), "")
        return Stamp(int(info.get("size") or 0), remote_mtime(info), tag)


def remote_mtime(info: dict[str, Any]) -> int:
    """Nanoseconds since the epoch where a store says when a file was written, else 0."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp()) * 1_000_000_000 + value.microsecond * 1_000
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value * 1_000_000_000)
    return 0


def hash_content(path: str) -> str:
    """sha256 of the content, hex, read in pieces. Raises FileFault."""
    digest = hashlib.sha256()
    with open_bytes(path) as handle:
        while True:
            with as_file_fault():
                piece = handle.read(READ_BYTES)
            if not piece:
                return digest.hexdigest()
            digest.update(piece)


def hash_file(path: str) -> str | None:
    """sha256 of the content, hex; None where it could not be read this time.

    What can never be read hashes to its reason and path, so that it is listed once and named by the reader.
    """
    try:
        return hash_content(path)
    except FileFault as fault:
        if fault.passes:
            return None
        return hashlib.sha256(f"{fault.reason}:{path}".encode("utf-8", "surrogatepass")).hexdigest()
