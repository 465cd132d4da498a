"""Tells the genre of a text from countable cues: its words, its line shapes, how it opens.

It knows forms of writing only; what a text is about is for the key terms to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from udfs.llm.offline.vocabulary import load
from udfs.llm.offline.words import stem, tokens

_HEAD_CHARS = 1_500
_SAMPLE_CHARS = 4_000  # from each of three places: cues are rates, so a sample is enough
_MIN_WORDS = 150  # rates over fewer words mean little
_LONG_CHARS = 10_000  # a text this long is no mere request
_LONG_REQUEST_SHARE = 0.3
_CLEAR_SCORE = 4.0
FALLBACK = "notes"
_NAMED = r"\b(?:this|these|the following|the|your|my)(?: \w+){0,2}? "  # "summarize this long government report"
_NAMED_WEIGHT = 4.0
_ANY_CASE, _ANY_CASE_PART = "(?i)", "(?i:"
_ESCAPE = re.compile(r"(\\.)")


@dataclass(frozen=True)
class Cue:
    """A pattern and what it adds: all of `weight` at `full_rate` hits per 1,000 words."""

    pattern: re.Pattern[str]
    weight: float
    full_rate: float
    lowered: bool  # looked for in the text in lower case

    def hits(self, text: str, lower: str) -> int:
        """How often it is met in a text, of which `lower` is the lower case."""
        return sum(1 for _ in self.pattern.finditer(lower if self.lowered else text))


@dataclass(frozen=True)
class Genre:
    """A form of writing with its cues and the words people use for it."""

    name: str
    noun: str
    plural: str
    variants: tuple[str, ...]
    words: frozenset[str]
    near: tuple[str, ...]
    head: tuple[tuple[re.Pattern[str], float], ...]
    cues: tuple[Cue, ...]
    profiles: tuple[str, ...]
    contexts: tuple[str, ...]
    chatbot: tuple[str, ...]
    capabilities: tuple[str, ...]
    is_request: bool  # a text that asks for something to be made
    called: re.Pattern[str] | None  # what users call a text of this kind


@cache
def genres() -> dict[str, Genre]:
    """All genres by name, in the order of the vocabulary (earlier ones win ties)."""
    return {
        name: Genre(
            name=name,
            noun=entry["noun"],
            plural=entry["plural"],
            variants=tuple(entry["variants"]),
            words=frozenset(stem(word) for word in tokens(entry["words"])),
            near=tuple(entry["near"]),
            head=tuple((re.compile(pattern, re.MULTILINE), weight) for pattern, weight in entry["head"]),
            cues=tuple(_cue(*told) for told in entry["cues"]),
            profiles=tuple(entry["profiles"]),
            contexts=tuple(entry["contexts"]),
            chatbot=tuple(entry["chatbot"]),
            capabilities=tuple(entry["capabilities"]),
            is_request=bool(entry.get("is_request", False)),
            called=re.compile(rf"{_NAMED}(?:{entry['called']})\b", re.IGNORECASE) if "called" in entry else None,
        )
        for name, entry in load("genres").items()
    }


def _cue(pattern: str, weight: float, full_rate: float) -> Cue:
    """A cue that does not mind the case is looked for in lower case: the engine tells letters apart twice as fast."""
    lowered = pattern.startswith(_ANY_CASE) and _ANY_CASE_PART not in pattern
    if lowered:
        parts = _ESCAPE.split(pattern.removeprefix(_ANY_CASE))
        pattern = "".join(part if part.startswith("\\") else part.lower() for part in parts)
    return Cue(re.compile(pattern, re.MULTILINE), weight, full_rate, lowered)


def genre_scores(text: str) -> dict[str, float]:
    """Score of every genre, from 0 up; about 5 is a clear case. Order of the vocabulary."""
    sample = _sample(text)
    lower = sample.lower()
    thousands = max(len(sample.split()), _MIN_WORDS) / 1_000
    head = text[:_HEAD_CHARS]
    scores = {}
    for genre in genres().values():
        opening = sum(weight for pattern, weight in genre.head if pattern.search(head))
        body = sum(cue.weight * min(1.0, cue.hits(sample, lower) / thousands / cue.full_rate) for cue in genre.cues)
        share = _LONG_REQUEST_SHARE if genre.is_request and len(text) > _LONG_CHARS else 1.0
        scores[genre.name] = share * (opening + body)
    return scores


def named_scores(text: str, request: str) -> dict[str, float]:
    """`genre_scores` with weight added for what the request that came with the text calls it."""
    scores = genre_scores(text)
    for genre in genres().values():
        if genre.called is not None and genre.called.search(request):
            scores[genre.name] += _NAMED_WEIGHT
    return scores


def genre_of(text: str) -> Genre:
    """The genre with the highest score."""
    scores = genre_scores(text)
    return genres()[max(scores, key=lambda name: scores[name])]


def clear_genre(text: str) -> Genre | None:
    """The genre of a text whose cues leave little doubt, else None."""
    scores = genre_scores(text)
    best = max(scores, key=lambda name: scores[name])
    return genres()[best] if scores[best] >= _CLEAR_SCORE else None


def genre_named(phrase: str) -> Genre | None:
    """The genre a free-form phrase means ("hotel reviews", "research paper"), or None.

    A phrase that is a name or a variant is that genre; otherwise the genre whose words it shares most.
    """
    wanted = phrase.strip().lower()
    for genre in genres().values():
        if wanted == genre.name or wanted in genre.variants:
            return genre
    stems = {stem(token) for token in tokens(wanted)}
    best, best_score = None, 0.0
    for genre in genres().values():
        names = {stem(token) for token in tokens(genre.name)}
        score = len(stems & genre.words) + len(stems & names)
        if score > best_score:
            best, best_score = genre, score
    return best


def _sample(text: str) -> str:
    """The text's beginning, middle and end; all of it when it is short."""
    if len(text) <= 3 * _SAMPLE_CHARS:
        return text
    middle = len(text) // 2
    return "\n".join(
        (
            text[:_SAMPLE_CHARS],
            text[middle : middle + _SAMPLE_CHARS],
            text[-_SAMPLE_CHARS:],
        )
    )
