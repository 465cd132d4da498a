"""Cuts a document into pieces for reading: evidence, text around it, and how much was left out between."""

from __future__ import annotations

from collections.abc import Sequence

WHOLE = 24_000  # characters of a document that is shown whole
AROUND = 500  # characters kept on both sides of a span of a longer one
ENDS = 800  # characters kept of its beginning and end
TEXT, EVIDENCE, LEFT_OUT = "text", "evidence", "left_out"
Piece = tuple[str, str | int]


def excerpts(text: str, spans: Sequence[tuple[int, int]]) -> list[Piece]:
    """Pieces in order: (kind, text), or (`left_out`, number of characters).

    `spans` are character ranges of `text`; what lies outside of it is cut off, overlapping ones become one.
    """
    marked = _merged([(max(0, start), min(len(text), end)) for start, end in spans])
    kept = [(0, len(text))]
    if len(text) > WHOLE:
        near = [(max(0, start - AROUND), min(len(text), end + AROUND)) for start, end in marked]
        kept = _merged([(0, ENDS), *near, (len(text) - ENDS, len(text))])
    pieces: list[Piece] = []
    at = 0
    for start, end in kept:
        if start > at:
            pieces.append((LEFT_OUT, start - at))
        pieces += _marked(text, start, end, marked)
        at = end
    return pieces


def _marked(text: str, start: int, end: int, marked: Sequence[tuple[int, int]]) -> list[Piece]:
    pieces: list[Piece] = []
    at = start
    for first, last in marked:
        if first >= end or last <= start:
            continue
        if first > at:
            pieces.append((TEXT, text[at:first]))
        pieces.append((EVIDENCE, text[first:last]))
        at = last
    if at < end:
        pieces.append((TEXT, text[at:end]))
    return pieces


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that touch made one, empty ones dropped."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
