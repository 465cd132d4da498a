"""Turns a file into bytes and bytes into lines, in bounded memory, keeping what a torn file still holds.

It knows compression and line ends and nothing about what a line means.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import fsspec
import zstandard

from udfs.readers.errors import FileFault

MAX_LINE_BYTES = 32 * 1024 * 1024  # a longer line is quarantined, not held
READ_BYTES = 1024 * 1024
# zstd has no bound on what one input piece becomes; 8 KiB of the worst frame is some hundred MB, of text 30 KB.
ZSTD_FEED_BYTES = 8 * 1024
JOINED_BYTES = 512 * 1024
GZIP_PIECE_BYTES = 4 * 1024 * 1024
UTF8_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line or array element, as found."""

    position: int  # 0-based; blank lines count
    raw: bytes | None  # None: longer than the limit and not kept
    fragment: bool = False  # the file broke off inside it


@dataclass
class Blanks:
    """How many blank lines were skipped."""

    count: int = 0


def is_local(path: str) -> bool:
    """A plain path, as against `scheme://…`."""
    return "://" not in path


def open_bytes(path: str) -> BinaryIO:
    """Open any path or URL for reading.

    Raises FileFault (missing, not_a_file, unreadable) in place of the many errors of the many file systems.
    """
    with as_file_fault():
        if is_local(path):
            # A named pipe would block for ever, a device never end.
            if not stat.S_ISREG(Path(path).stat().st_mode):
                raise FileFault("not_a_file", "a directory or a special file under a file's name")
            return Path(path).open("rb")
        return cast(BinaryIO, fsspec.open(path, "rb").open())


@contextmanager
def as_file_fault() -> Iterator[None]:
    """Translate the operating system's and the remote clients' errors, which are of many kinds.

    Raises FileFault: missing and unreadable, which may pass, or not_a_file.
    """
    try:
        yield
    except (FileFault, MemoryError):
        raise
    except FileNotFoundError as error:
        raise FileFault("missing", "not there any more") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise FileFault("not_a_file", "a directory under a file's name") from error
    except Exception as error:
        raise FileFault("unreadable", f"{type(error).__name__}: {error}"[:300]) from error


class Watched:
    """An open file that remembers why it could not be read.

    Readers of whole formats take any error for one of the content.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.fault: FileFault | None = None

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def read(self, size: int = -1) -> bytes:
        with self._watch():
            return self._handle.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._watch():
            return self._handle.seek(offset, whence)

    def tell(self) -> int:
        return self._handle.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        """Whoever opened the file closes it."""

    @contextmanager
    def _watch(self) -> Iterator[None]:
        try:
            with as_file_fault():
                yield
        except FileFault as fault:
            self.fault = fault
            raise


def decompressed(handle: BinaryIO, compression: str | None) -> Iterator[bytes]:
    """The file's content in pieces.

    Raises FileFault("empty") for zero bytes and FileFault("torn") where a compressed stream breaks off, after
    everything before the break was yielded.
    """
    source = checked_pieces(handle)
    decoders: dict[str | None, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
        "zst": unzstd,
        "gz": gunzip,
        None: iter,
    }
    yield from coalesced(decoders[compression](source))


def coalesced(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces, so that whoever splits them copies little; a fault comes after what preceded it."""
    held, size = list[bytes](), 0
    try:
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= JOINED_BYTES:
                yield b"".join(held)
                held, size = [], 0
    except FileFault:
        yield b"".join(held)
        raise
    yield b"".join(held)


def checked_pieces(handle: BinaryIO) -> Iterator[bytes]:
    with as_file_fault():
        piece = handle.read(READ_BYTES)
    if not piece:
        raise FileFault("empty", "zero bytes")
    while piece:
        yield piece
        with as_file_fault():
            piece = handle.read(READ_BYTES)


def zstd_decoder() -> zstandard.ZstdDecompressionObj:
    """Decoder of one frame, of any window that `zstd --long=31` makes; memory is taken for the frame's own."""
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


def unzstd(source: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress zstd frames one after another."""
    decoder, inside = zstd_decoder(), False
    for piece in source:
        for offset in range(0, len(piece), ZSTD_FEED_BYTES):
            rest = piece[offset : offset + ZSTD_FEED_BYTES]
            while rest:
                try:
                    output = decoder.decompress(rest)
                except zstandard.ZstdError as error:
                    raise FileFault("torn", f"zstd: {error}") from error
                inside = True
                if output:
                    yield output
                rest = b""
                if decoder.eof:
                    rest, inside = decoder.unused_data, False
                    decoder = zstd_decoder()
    if inside:
        raise FileFault("torn", "zstd: the last frame breaks off")


def gunzip(source: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gzip members one after another; zero padding behind the last one is allowed."""
    decoder, inside, first = zlib.decompressobj(wbits=31), False, True
    for piece in source:
        rest = piece if inside or first else piece.lstrip(b"\0")
        while rest:
            try:
                output = decoder.decompress(rest, GZIP_PIECE_BYTES)
            except zlib.error as error:
                raise FileFault("torn", f"gzip: {error}") from error
            inside, first = True, False
            if output:
                yield output
            rest = decoder.unconsumed_tail
            if decoder.eof:
                rest, inside = decoder.unused_data.lstrip(b"\0"), False
                decoder = zlib.decompressobj(wbits=31)
    while inside:  # output held back by the piece limit
        output = decoder.decompress(b"", GZIP_PIECE_BYTES)
        if output:
            yield output
        inside = not decoder.eof
        if inside and not output:
            raise FileFault("torn", "gzip: the last member breaks off")


def lines(pieces: Iterator[bytes], blanks: Blanks, limit: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Split pieces into lines without their ends; blank lines are counted and skipped.

    A FileFault of the source is raised after the line it interrupted was yielded as a fragment.
    """
    position, held, size = 0, list[bytes](), 0
    fault: FileFault | None = None
    try:
        for piece in pieces:
            for index, part in enumerate(piece.split(b"\n")):
                if index:
                    yield from as_line(position, held, size, limit, blanks)
                    position, held, size = position + 1, [], 0
                size += len(part)
                if size <= limit:
                    held.append(part)
                else:
                    held = []
    except FileFault as error:
        fault = error
    if size:
        yield from as_line(position, held, size, limit, blanks, fragment=fault is not None)
    if fault is not None:
        raise fault


def as_line(
    position: int, held: list[bytes], size: int, limit: int, blanks: Blanks, fragment: bool = False
) -> Iterator[Line]:
    """At most one line: nothing for a blank one, no bytes for one over the limit."""
    if size > limit:
        yield Line(position, None, fragment)
        return
    raw = b"".join(held).removeprefix(UTF8_MARK)  # files with the mark get concatenated, too
    if not raw or raw.isspace():
        blanks.count += 1
    else:
        yield Line(position, raw, fragment)
