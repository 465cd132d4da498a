"""A document as the extraction sees it: its usable sentences, their centrality, its key terms and title.

It says what is there; which of it an answer needs is decided elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from udfs.llm.offline.choice import pick
from udfs.llm.offline.keyterms import Term, key_terms, title_of
from udfs.llm.offline.passages import Passage, passages
from udfs.llm.offline.words import common_words

MIN_PASSAGES = 5  # fewer usable sentences do not make an answer
_TOPIC_PLACES = 4
_TOPIC_CHOICES = 7
_TOO_COMMON = 0.3  # a term in more of the passages than this is the setting, not a topic


@dataclass(frozen=True)
class Source:
    """A document as the extraction sees it."""

    text: str
    passages: tuple[Passage, ...]
    terms: tuple[Term, ...]
    title: str

    @classmethod
    def of(cls, text: str) -> Source:
        """Read a document: its usable sentences, key terms and title."""
        found = passages(text)
        return cls(text, tuple(found), tuple(key_terms(found)), title_of(text))

    @property
    def is_usable(self) -> bool:
        """Whether there is enough in it to answer from."""
        return len(self.passages) >= MIN_PASSAGES

    @property
    def has_speakers(self) -> bool:
        """Whether it is a transcript."""
        return 2 * sum(bool(passage.speaker) for passage in self.passages) > len(self.passages)

    @cached_property
    def centrality(self) -> tuple[float, ...]:
        """For each passage how much it shares with the rest, 0..1."""
        common = common_words()
        spread = Counter(word for passage in self.passages for word in passage.bag if word not in common)
        weight = {word: math.log1p(times) for word, times in spread.items() if times > 1}
        raw = [
            sum(weight.get(word, 0.0) for word in passage.bag) / math.sqrt(len(passage.bag) + 6)
            for passage in self.passages
        ]
        top = max(raw, default=0.0) or 1.0
        return tuple(value / top for value in raw)

    def topics(self) -> list[Term]:
        """Terms that enough passages speak of, but not all of them; best first."""
        most = max(_TOPIC_PLACES, int(_TOO_COMMON * len(self.passages)))
        known = [term for term in self.terms if not term.is_generic]
        fitting = [term for term in known if _TOPIC_PLACES <= len(term.places) <= most]
        return fitting or [term for term in known if len(term.places) >= 2] or list(self.terms[:3])


def choose_topic(source: Source, key: str, besides: Iterable[str] = ()) -> Term | None:
    """One of the document's leading topics, by the key; None when it has none."""
    taken = set(besides)
    free = [term for term in source.topics() if term.text not in taken]
    topics = sorted(free, key=lambda term: not term.is_telling)[:_TOPIC_CHOICES]
    return pick(topics, "topic", key) if topics else None
