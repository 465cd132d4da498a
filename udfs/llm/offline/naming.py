"""Ties a draft instruction to the documents at hand: names them, and fills in their topics and speakers.

It changes references only; what the draft asks for stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from udfs.llm.offline.choice import pick
from udfs.llm.offline.genres import Genre, genres
from udfs.llm.offline.keyterms import Term, names
from udfs.llm.offline.source import Source, choose_topic
from udfs.llm.offline.words import stem, tokens

_NATIONALITY = re.compile(r"(?:ican|ish|ese|ench|erman|opean|adian|ndian|alian|ussian)s?$")
_TITLE_WORDS = 12
_TELLING = 8  # leading terms among which names and word groups are preferred
_PLAIN = ("document", "text", "file", "article", "paper", "report", "passage")
# How names are put behind the noun, for genres that are better told by their names than by their terms.
_BY_NAMES = {
    "fiction": "with {}",
    "screenplay": "with {}",
    "legal contract": "involving {}",
    "customer reviews": "mentioning {}",
}
_TOPIC, _TOPICS, _TERMS, _SPEAKER = (
    "its central topic",
    "two of its central topics",
    "its key terms",
    "one main speaker",
)
_FOCUS = (
    "Pay particular attention to {terms}.",
    "Do not leave out {terms}.",
    "What is said about {terms} matters most.",
    "{terms} should be covered.",
)


@dataclass(frozen=True)
class Named:
    """A document with what to call it: `noun` ("report"), `description` ("the report on bail and due process")."""

    source: Source
    noun: str
    plural: str
    description: str
    about: tuple[Term, ...]


@dataclass(frozen=True)
class Adapted:
    """An instruction that names the documents, the terms it turns on, and whether it asks about the first alone."""

    instruction: str
    topics: tuple[Term, ...]
    asks_topic: bool = False


def name_document(source: Source, genre: Genre | None, noun: str) -> Named:
    """What to call a document of a genre; `noun` is used where that is not clear."""
    plural = next((known.plural for known in genres().values() if known.noun == noun), f"{noun}s")
    if genre is not None:
        noun, plural = genre.noun, genre.plural
    wording = _BY_NAMES.get(genre.name) if genre is not None else None
    specific = [term for term in source.terms if not term.is_generic and not _NATIONALITY.search(term.text)]
    known = specific or list(source.terms)
    leading = names(known)[:2]
    if wording is None or len(leading) < 2:
        telling = [term for term in known[:_TELLING] if term.is_name or len(term.stems) > 1]
        wording, leading = "on {}", (telling + [term for term in known if term not in telling])[:2]
    if source.title and len(source.title.split()) <= _TITLE_WORDS:
        description = f"the {noun} “{source.title}”"
    elif leading:
        description = f"the {noun} {wording.format(' and '.join(mention(term) for term in leading))}"
    else:
        description = f"the {noun}"
    return Named(source, noun, plural, description, tuple(leading))


def adapt(draft: str, documents: Sequence[Named], key: str, mode: str) -> Adapted:
    """The draft with its documents named and its open places filled.

    A draft that asks about a topic without saying which gets one of the document's own; one that leaves nothing
    open is told what to attend to, now and then, so that it fits no other document.
    """
    first = documents[0]
    text = _with_names(" ".join(draft.split()), documents)
    if len(documents) > 1:
        return Adapted(_without_slots(text), ())
    besides = [term.text for term in first.about]
    one = (
        _asked_term(first.source, draft) or choose_topic(first.source, key, besides) or choose_topic(first.source, key)
    )
    two = choose_topic(first.source, f"{key}\x1fsecond", [*besides, one.text]) if one else None
    if one is None:
        return Adapted(_without_slots(text), ())
    filled = text.replace(_TOPICS, f"{mention(one)} and {mention(two)}" if two else mention(one))
    terms = first.source.topics()[:3] or [one]
    filled = filled.replace(_TERMS, _listed(terms)).replace(_TOPIC, mention(one))
    filled = filled.replace(_SPEAKER, _speaker(first.source) or "the author")
    topics = tuple(term for term in (one, two) if term is not None)
    known = {term.text for term in first.about}
    open_terms = [term for term in topics if term.text not in known]
    if filled != text or mode not in {"topic", "coverage"} or not open_terms:
        return Adapted(_capital(filled), topics, _TOPIC in text)
    focus = pick(_FOCUS, "focus", key).format(terms=_listed(open_terms[:1] if mode == "topic" else open_terms))
    return Adapted(_capital(f"{filled} {focus}"), topics)


def mention(term: Term) -> str:
    """A term as it stands in running text: names plain, other terms in quotes."""
    return term.text if term.is_name else f"“{term.text}”"


def speakers(source: Source) -> list[str]:
    """The speakers of a transcript, those who say most first."""
    counts = Counter(passage.speaker for passage in source.passages if passage.speaker)
    return sorted(counts, key=lambda speaker: (-counts[speaker], speaker))


def _longest_first(words: Iterable[str]) -> list[str]:
    """Distinct words in an order that lets a longer alternative match before its beginning does."""
    return sorted(set(words), key=lambda word: (-len(word), word))


@cache
def _references() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """References to one document and to several: "the attached report", "these two papers"."""
    singular = _longest_first([*_PLAIN, *(genre.noun for genre in genres().values())])
    plural = _longest_first([*(f"{noun}s" for noun in _PLAIN), *(genre.plural for genre in genres().values())])
    before, after = (
        r"(?:(?:attached|enclosed|given|following|above|provided) )?",
        r"(?: (?:I have attached|attached here|below|above))?",
    )
    one = re.compile(rf"(?i)\b(?:the|this|that) {before}(?:{'|'.join(map(re.escape, singular))}){after}(?![\w-])")
    determiner = r"(?:the|these|both|all)(?: the)?(?: two| several)?"
    many = re.compile(rf"(?i)\b{determiner} {before}(?:{'|'.join(map(re.escape, plural))}){after}(?![\w-])")
    return one, many


def _with_names(draft: str, documents: Sequence[Named]) -> str:
    """The draft with its first reference replaced by the documents' names; they are added where there is none."""
    one, many = _references()
    if len(documents) == 1:
        named = documents[0].description
        changed, times = one.subn(lambda _: named, draft, count=1)
        return changed if times else f"{draft} Work from {named}."
    plural = documents[0].plural if len({document.plural for document in documents}) == 1 else "documents"
    each = [_short(document) for document in documents]
    named = f"the two {plural} ({each[0]}; {each[1]})" if len(each) == 2 else f"the {plural} ({'; '.join(each)})"
    changed, times = many.subn(lambda _: named, draft, count=1)
    return changed if times else f"{draft} Work from {named}."


def _short(document: Named) -> str:
    """A document's description without its article, for a list."""
    title = document.source.title
    if title and len(title.split()) <= _TITLE_WORDS:
        return f"“{title}”"
    terms = " and ".join(mention(term) for term in document.about)
    return f"one on {terms}" if terms else "one without a clear subject"


def _without_slots(text: str) -> str:
    """The draft's open places in general words, where nothing specific can be put."""
    return _capital(
        text.replace(_TOPICS, "its main subjects").replace(_TOPIC, "its subject").replace(_SPEAKER, "the main speaker")
    )


def _asked_term(source: Source, draft: str) -> Term | None:
    """The document's term that the draft itself speaks of, if any."""
    words = {stem(token) for token in tokens(draft)}
    return next((term for term in source.topics() if words.issuperset(term.stems)), None)


def _speaker(source: Source) -> str:
    """Who says most in a transcript; an empty string elsewhere."""
    found = [speaker for speaker in speakers(source) if not re.match(r"(?i)the (?:acting )?chair|operator", speaker)]
    return found[0] if found and source.has_speakers else ""


def _listed(terms: Sequence[Term]) -> str:
    """Terms as an enumeration."""
    said = [mention(term) for term in terms]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
