"""Gives a raw value the form in which equal things are spelled equally: Unicode, case, space, outer punctuation.

It refuses to know fields, vectors and languages: no stemming, no word lists, and marks that carry meaning
(c++, c#, .net, -5, 50%) stay.
"""

from __future__ import annotations

import re
import unicodedata

# Invisible marks that do not change a word (joiners do, in Persian or in emoji, and stay).
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
SURROGATE = re.compile("[\ud800-\udfff]")  # lone halves, which no file can hold
QUOTES = "\"'`´‘’‚‛“”„‟«»‹›「」『』"
BULLETS = "•‣◦▪–—*_~|"
BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">", "【": "】"}
LEADING = re.compile(rf"^(?:[\s{re.escape(QUOTES + BULLETS)},;:!?。、]|\.(?!\w)|-(?!\w))+")
TRAILING = re.compile(rf"[\s{re.escape(QUOTES + BULLETS)}.,;:!?。、-]+$")


def normalise_value(value: str) -> str:
    """The normal form of a value, possibly empty. Normalising twice changes nothing."""
    while True:
        shorter = _unwrapped(_folded(value))
        if shorter == value:
            return value
        value = shorter


def _folded(value: str) -> str:
    """Compatibility forms, caseless, single spaces, nothing unprintable."""
    readable = SURROGATE.sub("\ufffd", value)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", readable).casefold())
    visible = "".join(" " if unicodedata.category(c) == "Cc" else c for c in folded.translate(INVISIBLE))
    return " ".join(visible.split())


def _unwrapped(value: str) -> str:
    """Without outer quotes, bullets and sentence marks, and without a pair of brackets around the whole."""
    value = TRAILING.sub("", LEADING.sub("", value))
    closing = BRACKETS.get(value[:1])
    inner = value[1:-1]
    wraps_all = closing and value.endswith(closing) and value[0] not in inner and closing not in inner
    return inner if wraps_all else value
