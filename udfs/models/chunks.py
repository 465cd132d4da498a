"""Makes the pieces of a text that an embedder reads: evenly spaced chunks, whole texts when they are short.

It refuses to know what a token id means and which model reads the pieces.
"""

from __future__ import annotations

CHARS_READ = 8  # characters tokenised per token wanted; text has about 4.5 per token
CHARS_WHOLE = 12  # up to this many characters per token wanted the whole text is tokenised
WORD_REACH = 64  # how far a cut may move to meet a space; scripts without spaces are cut where they are


def windows(text: str, chunks: int, size: int) -> list[str]:
    """The parts of `text` worth tokenising for `chunks` chunks of `size` tokens.

    A text of up to CHARS_WHOLE * chunks * size characters comes back whole, so that its chunks are spaced
    by tokens. Of a longer one only `chunks` windows are cut, evenly spaced by characters: tokenising all
    of a 30k-token document costs more than embedding four chunks of it. Blank parts are dropped; an empty
    list means that there is nothing to read.
    """
    if len(text) <= CHARS_WHOLE * chunks * size:
        parts = [text]
    else:
        width = CHARS_READ * size
        parts = [_whole_words(text, start, width) for start, _ in spans(len(text), chunks, width)]
    kept = [part for part in parts if part and not part.isspace()]
    if not kept and not text.isspace():
        kept = [text.strip()[: CHARS_READ * size]]  # the words sit between windows of blanks
    return [_utf8(part) for part in kept if part]


def spans(n: int, chunks: int, size: int) -> list[tuple[int, int]]:
    """Start and stop of the chunks of a sequence of `n` units: all of it in consecutive pieces when it fits
    into chunks * size, else `chunks` evenly spaced pieces of `size`, the first at the start and the last
    at the end (one chunk: the start)."""
    if n <= chunks * size:
        return [(start, min(start + size, n)) for start in range(0, n, size)]
    if chunks == 1:
        return [(0, size)]
    starts = [i * (n - size) // (chunks - 1) for i in range(chunks)]
    return [(start, start + size) for start in starts]


def token_chunks(windows_ids: list[list[int]], chunks: int, size: int) -> list[list[int]]:
    """Chunks of token ids from the tokenised windows of one text, none of them empty."""
    if len(windows_ids) == 1:
        ids = windows_ids[0]
        return [ids[start:stop] for start, stop in spans(len(ids), chunks, size)]
    return [ids[:size] for ids in windows_ids if ids]


def _whole_words(text: str, start: int, width: int) -> str:
    """`text[start:start + width]`, its ends moved inwards to the nearest space within WORD_REACH."""
    stop = min(start + width, len(text))
    if start > 0 and not text[start - 1].isspace():
        start = next((i for i in range(start, min(start + WORD_REACH, stop)) if text[i].isspace()), start)
    if stop < len(text) and not text[stop].isspace():
        stop = next((i for i in range(stop, max(stop - WORD_REACH, start), -1) if text[i - 1].isspace()), stop)
    return text[start:stop]


def _utf8(text: str) -> str:
    """`text` with lone surrogates replaced: tokenizers raise on them, and a row must not stop a run."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
