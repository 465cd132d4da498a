"""Locates the quotes of an answer in its documents and measures how much of the answer rests on them.

It compares characters and words only: it does not know who wrote the answer, nor whether it is true.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rapidfuzz import fuzz

from udfs.settings import EvidenceSettings
from udfs.text import fold, sentences

# What an answer sentence must share with the evidence. A sentence that frames a quote ("The report says that
# ...") keeps most of its content words inside one quote; a paraphrase over several quotes needs more of them.
_SHARE_IN_ONE_QUOTE = 0.6
_SHARE_IN_ALL_QUOTES = 0.75
_SHARE_VERBATIM = 0.6  # of word triples that stand in the document itself
_SAME_SHARE = 0.05  # documents this close to the best one split a sentence between them

# Scripts written without spaces are compared character by character.
_UNSPACED = r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
_TOKEN = re.compile(rf"{_UNSPACED}|[^\W_]+")
# Vowel signs and accents that combine with a letter are of its word: without them a Hindi word is three.
_MARKS = frozenset(filter(lambda c: unicodedata.category(c) in ("Mn", "Mc"), map(chr, range(0x300, 0x1F000))))
_MARKED_TOKEN = re.compile(rf"{_UNSPACED}|[^\W_]+(?:[{''.join(sorted(_MARKS))}]+[^\W_]*)*")
_MARKDOWN = re.compile(r"^\s*(?:[-*+•]\s+|\d{1,3}[.)]\s+|>\s*|#{1,6}\s+|\|)+")
_TABLE_RULE = re.compile(r"^[\s|:+=_*-]+$")
_HEADING = re.compile(r"^\s*(?:#{1,6}\s|\*\*[^*]+\*\*:?\s*$|=+\s*$)")
_LEAD_IN_WORDS = 30  # a line this short that ends in a colon announces, it does not assert
_ELLIPSIS = re.compile(r"\s*(?:\[\s*(?:\.{3}|…)\s*\]|\.{3,}|…)\s*")
_QUOTE_MARKS = frozenset("\"'`´‘’‚‛“”„‟‹›«»「」『』〝〞＂＇")
_DASHES = frozenset("-‐‑‒–—―−﹣－")
_FUNCTION_WORDS_TEXT = (
    "a an the and or but nor of in on at to for from by with as is are was were be been being it its this that "
    "these those he she they them his her their we our you your i me my not no so if then than there here which "
    "who whom whose what when where how why do does did has have had will would can could may might shall should "
    "must also into about over under up out off says say said states state"
)
_FUNCTION_WORDS = frozenset(_FUNCTION_WORDS_TEXT.split())


@dataclass(frozen=True)
class Span:
    """One located quote: `text[start:end]` of the document is the evidence, in characters of the original."""

    quote_index: int
    doc_id: str
    start: int
    end: int
    exact: bool


@dataclass(frozen=True)
class Grounding:
    """How many answer sentences have evidence, and how the evidence is spread over the documents.

    `document_shares` has every document once; the shares sum to 1, or are all 0 when nothing is grounded.
    """

    sentences: int
    grounded: int
    share: float
    document_shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Folded:
    """Text without case, space and quote marks; `origin[i]` is where folded character i came from."""

    text: str
    origin: array[int]
    length: int  # of the original

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Original offsets of folded[start:end]; whole characters, with the marks that combine with them."""
        return self.origin[start], min(self.origin[end - 1] + 1, self.length)


def locate_quotes(
    quotes: Sequence[str],
    documents: Sequence[tuple[str, str]],
    settings: EvidenceSettings,
    hints: Sequence[str | None] = (),
) -> list[Span]:
    """Spans of the quotes that stand in the documents, in order of the quotes, at most one for each.

    A quote is looked for exactly in every document, then without regard to case, white space, dashes and
    quote marks, then near-verbatim (similarity of at least `settings.fuzzy_ratio`). The first occurrence is
    taken; documents are tried in order, the one named in `hints` (a doc_id per quote) first. Quotes shorter
    than `settings.min_quote_chars`, or nearly without letters and digits, are dropped.
    """
    folded: dict[str, _Folded] = {}
    spans = []
    for index, quote in enumerate(quotes):
        stripped = quote.strip()
        if not _is_long_enough(stripped, settings.min_quote_chars):
            continue
        hint = hints[index] if index < len(hints) else None
        ordered = sorted(documents, key=lambda document: document[0] != hint)
        found = _locate(stripped, ordered, folded, settings)
        if found is not None:
            spans.append(Span(index, *found))
    return spans


def grounding(response: str, spans: Sequence[Span], documents: Sequence[tuple[str, str]]) -> Grounding:
    """Share of the response's sentences with evidence, and each document's share of that evidence.

    A sentence has evidence when enough of its content words lie in one located quote (or, more of them, in all
    quotes from one document), or when enough of its word triples stand in a document as they are. Headings,
    table rules and lines that only announce what follows ("In short:") are not counted.
    """
    evidence = {
        doc_id: _DocumentEvidence.of(text, [span for span in spans if span.doc_id == doc_id])
        for doc_id, text in documents
    }
    total, grounded = 0, 0
    credit = dict.fromkeys(evidence, 0.0)
    for sentence in _assertions(response):
        tokens = _words(sentence)
        content = [token for token in tokens if token not in _FUNCTION_WORDS]
        if not content:
            continue
        total += 1
        strengths = {doc_id: found.strength(tokens, content) for doc_id, found in evidence.items()}
        best = max(strengths.values(), default=0.0)
        if best <= 0.0:
            continue
        grounded += 1
        sharing = [doc_id for doc_id, strength in strengths.items() if strength >= best - _SAME_SHARE]
        for doc_id in sharing:
            credit[doc_id] += 1.0 / len(sharing)
    shares = {doc_id: (amount / grounded if grounded else 0.0) for doc_id, amount in credit.items()}
    return Grounding(total, grounded, grounded / total if total else 0.0, shares)


def _is_long_enough(quote: str, min_chars: int) -> bool:
    """Long enough, and at least a third of the required length is letters or digits (no rows of dots)."""
    if len(quote) < min_chars:
        return False
    return sum(character.isalnum() for character in quote) * 3 >= min_chars


def _locate(
    quote: str,
    documents: Sequence[tuple[str, str]],
    folded: dict[str, _Folded],
    settings: EvidenceSettings,
) -> tuple[str, int, int, bool] | None:
    """(doc_id, start, end, exact) of one quote, or None."""
    for doc_id, text in documents:
        start = text.find(quote)
        if start >= 0:
            return doc_id, start, start + len(quote), True
    for doc_id, text in documents:
        if doc_id not in folded:
            folded[doc_id] = _fold(text)
    pieces = [quote, *sorted(_pieces(quote, settings.min_quote_chars), key=len, reverse=True)]
    for piece in pieces:
        found = _locate_folded(_fold(piece).text, documents, folded)
        if found is not None:
            return found
    return _locate_fuzzy(_fold(pieces[0]).text, documents, folded, settings.fuzzy_ratio)


def _pieces(quote: str, min_chars: int) -> list[str]:
    """The parts of a quote that an ellipsis cuts, where there is one."""
    parts = _ELLIPSIS.split(quote)
    return [part for part in parts if _is_long_enough(part, min_chars)] if len(parts) > 1 else []


def _locate_folded(
    needle: str, documents: Sequence[tuple[str, str]], folded: Mapping[str, _Folded]
) -> tuple[str, int, int, bool] | None:
    """First place where the folded quote stands in a folded document."""
    if not needle:
        return None
    for doc_id, _ in documents:
        start = folded[doc_id].text.find(needle)
        if start >= 0:
            return doc_id, *folded[doc_id].span(start, start + len(needle)), False
    return None


def _locate_fuzzy(
    needle: str,
    documents: Sequence[tuple[str, str]],
    folded: Mapping[str, _Folded],
    ratio: float,
) -> tuple[str, int, int, bool] | None:
    """Best near-verbatim place over all documents; the first document wins a tie."""
    best: tuple[float, str, int, int] | None = None
    for doc_id, _ in documents:
        haystack = folded[doc_id].text
        if not needle or len(haystack) < len(needle):  # rapidfuzz would swap the two
            continue
        aligned = fuzz.partial_ratio_alignment(needle, haystack, score_cutoff=100 * ratio)
        if aligned is None or aligned.dest_end <= aligned.dest_start:
            continue
        # a short window that matches perfectly is not the quote: judge what was found against all of it
        window = haystack[aligned.dest_start : aligned.dest_end]
        score = fuzz.ratio(needle, window, score_cutoff=100 * ratio)
        if score >= 100 * ratio and (best is None or score > best[0]):
            best = (score, doc_id, aligned.dest_start, aligned.dest_end)
    if best is None:
        return None
    _, doc_id, start, end = best
    return doc_id, *folded[doc_id].span(start, end), False


def _fold_character(character: str) -> str:
    """Compatibility form without case; nothing for white space, quote marks and invisible characters."""
    if character in _QUOTE_MARKS or character.isspace() or unicodedata.category(character) in ("Cf", "Cc"):
        return ""
    if character in _DASHES:
        return "-"
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(part for part in plain if not part.isspace())


def _fold(text: str) -> _Folded:
    """Folded text with the origin of each of its characters. One pass; characters are folded once each."""
    known = {character: _fold_character(character) for character in set(text)}
    parts: list[str] = []
    origin = array("L")
    for index, character in enumerate(text):
        plain = known[character]
        if len(plain) == 1:
            parts.append(plain)
            origin.append(index)
        elif plain:
            parts.append(plain)
            origin.extend([index] * len(plain))
    return _Folded("".join(parts), origin, len(text))


def _assertions(response: str) -> Iterator[str]:
    """The response's sentences, without headings, table rules, markers and lines that only announce."""
    for line in response.splitlines():
        if not line.strip() or _HEADING.match(line) or _TABLE_RULE.match(line):
            continue
        plain = _MARKDOWN.sub("", line).replace("|", " ").replace("**", "").strip()
        if plain.endswith((":", "：")) and len(plain.split()) <= _LEAD_IN_WORDS:
            continue
        for start, end in sentences(plain):
            yield plain[start:end]


@dataclass(frozen=True)
class _DocumentEvidence:
    """What one document offers: the words of each located quote, and its own word triples."""

    quotes: tuple[frozenset[str], ...]
    all_quotes: frozenset[str]
    triples: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, text: str, spans: Sequence[Span]) -> _DocumentEvidence:
        """What `text` offers, with the spans that were located in it."""
        tokens = _words(text)
        quotes = tuple(frozenset(_words(text[span.start : span.end])) for span in spans)
        return cls(quotes, frozenset().union(*quotes), frozenset(_triples(tokens)))

    def strength(self, tokens: Sequence[str], content: Sequence[str]) -> float:
        """0 when the sentence has no evidence here, else the larger of its shares in quotes and document."""
        in_one = max((_share(content, quote) for quote in self.quotes), default=0.0)
        in_all = _share(content, self.all_quotes)
        triples = list(_triples(tokens))
        verbatim = sum(triple in self.triples for triple in triples) / len(triples) if triples else 0.0
        by_quotes = in_one >= _SHARE_IN_ONE_QUOTE or in_all >= _SHARE_IN_ALL_QUOTES
        return max(in_one, in_all, verbatim) if by_quotes or verbatim >= _SHARE_VERBATIM else 0.0


def _words(text: str) -> list[str]:
    """The words in a form in which those that look alike are equal, however their accents are written."""
    folded = fold(text)
    # The second takes five times as long.
    return (_TOKEN if _MARKS.isdisjoint(folded) else _MARKED_TOKEN).findall(folded)


def _triples(tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every three neighbouring words."""
    return zip(tokens, tokens[1:], tokens[2:], strict=False)


def _share(words: Sequence[str], known: frozenset[str]) -> float:
    """Share of `words` that are in `known`."""
    return sum(word in known for word in words) / len(words)
