"""Words: how text falls into them, which carry meaning, and which share a stem.

It counts and compares; it does not know what a text is about.
"""

from __future__ import annotations

import re
from functools import cache

from udfs.llm.offline.vocabulary import load

# Scripts written without spaces give one token per character.
NO_SPACE = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
TOKEN = re.compile(rf"[{NO_SPACE}]|[^\W_{NO_SPACE}]+(?:[-'’][^\W_{NO_SPACE}]+)*")
_POSSESSIVE = re.compile(r"['’]s?$")
_MAX_TOKEN = 60  # longer runs are hashes, base64 or text without spaces: never words


@cache
def stop_words() -> frozenset[str]:
    """Function words of the languages we know some of."""
    return frozenset(word for words in load("words")["stop"].values() for word in words.split())


@cache
def english_stop_words() -> frozenset[str]:
    """Function words of English alone: those of other languages may stand in names ("van Zandt")."""
    return frozenset(load("words")["stop"]["en"].split())


@cache
def common_words() -> frozenset[str]:
    """Function words and English words too common to be what a text is about."""
    return stop_words() | frozenset(load("words")["common"].split())


@cache
def generic_stems() -> frozenset[str]:
    """Stems of words that say what kind of text it is rather than what it is about."""
    return frozenset(stem(word) for word in load("words")["generic"].split())


@cache
def stem(word: str) -> str:
    """Crude English stem of a lower-case word: plural and verb endings only; other words come back unchanged."""
    word = _POSSESSIVE.sub("", word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 5 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def tokens(text: str) -> list[str]:
    """Lower-case words, in order."""
    return [token for token in TOKEN.findall(text.lower()) if len(token) <= _MAX_TOKEN]


def content_stems(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order, repeats kept."""
    stop = stop_words()
    return [stem(token) for token in tokens(text) if token not in stop and (len(token) > 1 or not token.isascii())]
