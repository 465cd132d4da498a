"""Cuts texts to a number of tokens, at a character, never inside one.

It asks only for counts, so it works with every engine; what is lost is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable

from udfs.settings import TokenizerSettings
from udfs.tokens.ladder import counter

ELLIPSIS = "\n[…]\n"
CHARS_PER_TOKEN = 8  # first guess at how much text is enough; doubled until it is


def clip_tokens(text: str, n: int, settings: TokenizerSettings) -> str:
    """A beginning of the text of at most n tokens, as long as bisection finds."""
    return longest(n, len(text), lambda size: text[:size], settings)


def tail_tokens(text: str, n: int, settings: TokenizerSettings) -> str:
    """An end of the text of at most n tokens."""
    return longest(n, len(text), lambda size: text[len(text) - size :], settings)


def head_and_tail(text: str, n: int, settings: TokenizerSettings, mark: str = ELLIPSIS) -> str:
    """The whole text if it has at most n tokens, else its beginning and end around `mark`, n tokens in all."""
    if n <= 0:
        return ""
    head = clip_tokens(text, n, settings)
    if len(head) == len(text):
        return text
    room = n - size_of(mark, settings)
    while room >= 2:
        front = clip_tokens(text, room - room // 2, settings)
        back = tail_tokens(text, room // 2, settings)
        joined = front + mark + back
        # Tokens can form across the joints, and rarely more of them than before.
        if size_of(joined, settings) <= n:
            return joined
        room -= 1
    return head


def longest(n: int, size: int, cut: Callable[[int], str], settings: TokenizerSettings) -> str:
    """The cut of most characters that has at most n tokens.

    Counts nearly always grow with the text, so bisection finds the largest cut or one close to it; what it
    returns was counted and fits.
    """
    if n <= 0 or size == 0:
        return ""

    def fits(characters: int) -> bool:
        return size_of(cut(characters), settings) <= n

    low, high = 0, min(size, CHARS_PER_TOKEN * n)
    while fits(high):
        if high == size:
            return cut(size)
        low, high = high, min(size, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return cut(low)


def size_of(text: str, settings: TokenizerSettings) -> int:
    """Tokens of one text; the many near-equal texts of a bisection say nothing new about an engine."""
    return counter(settings).count([text], watched=False)[0]
