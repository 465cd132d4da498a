"""Splits one big JSON array into the bytes of its elements, holding one element at a time.

It follows quotes and brackets only: whether an element is valid JSON is decided where elements are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from udfs.readers.errors import FileFault
from udfs.readers.streams import MAX_LINE_BYTES, UTF8_MARK, Line

OUTSIDE = re.compile(rb'["\[\]{},]')
INSIDE = re.compile(rb'["\\]')
BACKSLASH, QUOTE, COMMA = b'\\",'  # iterating bytes gives numbers
OPENING, CLOSING = frozenset(b"[{"), frozenset(b"]}")


def starts_with_bracket(pieces: Iterator[bytes]) -> tuple[bool, Iterator[bytes]]:
    """Whether the first character is `[`, and the pieces again from the start."""
    seen: list[bytes] = []
    first, size = b"", 0
    for piece in pieces:
        seen.append(piece)
        size += len(piece)
        first = b"".join(seen).removeprefix(UTF8_MARK).lstrip()[:1]
        if size > len(UTF8_MARK) and (first or size > MAX_LINE_BYTES):
            break
    return first == b"[", joined(seen, pieces)


def joined(seen: list[bytes], pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from seen
    yield from pieces


class ArraySplitter:
    """A cursor over the growing text of an array; `feed` returns the elements that became complete."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self.limit = limit
        self.buffer = b""
        self.start = 0  # first byte of the current element
        self.at = 0  # next byte to look at
        self.depth = 0  # 0 before and behind the array, 1 between elements
        self.in_string = False
        self.position = 0
        self.overflow = False  # the current element is over the limit and is not held
        self.done = False

    def feed(self, piece: bytes) -> list[Line]:
        """Take more bytes; the elements that they complete."""
        self.buffer += piece
        found: list[Line] = []
        while not self.done and self.step(found):
            pass
        if not self.done and self.at - self.start > self.limit:
            self.overflow = True
        if self.overflow:
            self.start = self.at
        self.buffer, self.at, self.start = self.buffer[self.start :], self.at - self.start, 0
        return found

    def step(self, found: list[Line]) -> bool:
        """Go to the next quote, bracket or comma; False when more bytes are needed."""
        match = (INSIDE if self.in_string else OUTSIDE).search(self.buffer, self.at)
        if match is None:
            self.at = len(self.buffer)
            return False
        mark, end = self.buffer[match.start()], match.end()
        if mark == BACKSLASH:
            self.at = match.start() if end == len(self.buffer) else end + 1
            return end < len(self.buffer)
        self.at = end
        if mark == QUOTE:
            self.in_string = not self.in_string
        elif mark in OPENING:
            self.depth += 1
            self.start = end if self.depth == 1 else self.start
        elif mark in CLOSING:
            self.depth -= 1
            self.done = self.depth == 0
        if self.done or (mark == COMMA and self.depth == 1):
            self.finish(end, found)
        return True

    def finish(self, end: int, found: list[Line]) -> None:
        """Cut the element that ends before the mark at `end - 1`."""
        raw = self.buffer[self.start : end - 1].strip()
        if self.overflow or len(raw) > self.limit:
            found.append(Line(self.position, None))
        elif raw:
            found.append(Line(self.position, raw))
        self.start, self.overflow = end, False
        self.position += 1

    @property
    def trailing(self) -> bool:
        """Whether something other than white space follows the end of the array."""
        return self.done and bool(self.buffer.strip())

    def rest(self) -> list[Line]:
        """The element the file broke off in, if any."""
        raw = self.buffer.strip()
        if self.done or self.depth == 0 or not (raw or self.overflow):
            return []
        return [Line(self.position, None if self.overflow else raw, fragment=True)]


def elements(pieces: Iterator[bytes], limit: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """The elements of one JSON array.

    Raises FileFault("torn") when the array does not end or something follows it, after the last element was
    yielded (as a fragment when the file broke off inside it).
    """
    splitter = ArraySplitter(limit)
    fault: FileFault | None = None
    try:
        for piece in pieces:
            yield from splitter.feed(piece)
            if splitter.trailing:
                raise FileFault("torn", "something follows the end of the array")
    except FileFault as error:
        fault = error
    if not splitter.done:
        yield from splitter.rest()
        fault = fault or FileFault("torn", "the array does not end")
    if fault is not None:
        raise fault
