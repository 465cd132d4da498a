"""Brings several documents together: what each says, where they meet, what only one of them tells.

It compares key terms; agreement and contradiction of statements are beyond it, and it claims neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from udfs.llm.offline.choice import pick
from udfs.llm.offline.extraction import Point
from udfs.llm.offline.keyterms import Term
from udfs.llm.offline.layouts import Form, running, sentence_of
from udfs.llm.offline.naming import Named, mention
from udfs.llm.offline.passages import Passage
from udfs.llm.offline.source import Source
from udfs.llm.offline.words import common_words

_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MEET = ("Common ground", "What both speak of", "Where they meet")
_PART = ("Only in one of them", "Where each goes its own way", "What only one of them covers")
_LEAST_PLACES = 2
_NO_NOUN = 0.3  # the weight of a shared word that may well be no noun


@dataclass(frozen=True)
class Shared:
    """A term both documents use, with the passage of each that says most about it."""

    term: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class Own:
    """A leading term of one document (by index) that the others lack, with its passage."""

    term: str
    document: int
    passage: Passage


def shared_terms(documents: Sequence[Named], used: Sequence[frozenset[int]], most: int = 3) -> list[Shared]:
    """At most `most` terms that all documents use, the weightiest first.

    `used` are the passages already shown, by document.
    """
    first = documents[0].source
    found: list[tuple[float, Shared]] = []
    for term in first.terms:
        if term.is_generic:
            continue
        matches = [term, *(_same(term, other.source) for other in documents[1:])]
        if any(match is None for match in matches):
            continue
        passages = tuple(
            _best(document.source, match, shown)
            for document, match, shown in zip(documents, matches, used, strict=True)
            if match is not None
        )
        weight = min(match.score for match in matches if match is not None) * (1.0 if term.is_telling else _NO_NOUN)
        if all(passages):
            found.append((weight, Shared(mention(term), tuple(p for p in passages if p is not None))))
    found.sort(key=lambda pair: (-pair[0], pair[1].term))
    return _distinct([shared for _, shared in found])[:most]


def own_terms(documents: Sequence[Named], used: Sequence[frozenset[int]], each: int = 2) -> list[Own]:
    """Leading terms of each document that no other one uses, at most `each` from each."""
    found: list[Own] = []
    for index, document in enumerate(documents):
        others = [_vocabulary(other.source) for at, other in enumerate(documents) if at != index]
        taken = set(used[index])
        count = 0
        for term in document.source.topics():
            if count == each or any(set(term.stems) <= other for other in others):
                continue
            passage = _best(document.source, term, frozenset(taken))
            if passage is not None:
                found.append(Own(mention(term), index, passage))
                taken.add(passage.index)
                count += 1
    return found


def joined(
    documents: Sequence[Named],
    parts: Sequence[Sequence[Point]],
    shared: Sequence[Shared],
    own: Sequence[Own],
    form: Form,
    key: str,
) -> str:
    """One answer over all documents in the asked form."""
    if form.shape == "table":
        return _table(documents, parts, shared, own)
    if form.shape == "paragraph":
        return _running(documents, parts, shared, own, form)
    marks = {"bullets": "- ", "html": "- ", "json": "- ", "qa": "- "}
    heading = "### {}" if form.shape in {"sections", "numbered"} else "**{}**"
    mark = marks.get(form.shape, "")
    made = []
    for index, (document, points) in enumerate(zip(documents, parts, strict=True)):
        entries = _entries(points, form, mark)
        made.append(f"{heading.format(_called(index, document))}\n\n{entries}")
    if shared:
        lines = [f"- {term.term}: {_both(term)}" for term in shared]
        made.append(f"{heading.format(pick(_MEET, 'meet', key))}\n\n" + "\n".join(lines))
    if own:
        lines = [f"- {term.term} (the {_ORDINALS[term.document]}): “{term.passage.text}”" for term in own]
        made.append(f"{heading.format(pick(_PART, 'part', key))}\n\n" + "\n".join(lines))
    return "\n\n".join(made)


def _entries(points: Sequence[Point], form: Form, mark: str) -> str:
    """What one document says, as a list or as running text; groups are named."""
    if form.shape == "numbered" or mark:
        lines = [f"{point.group}: {_said(point, form)}" if point.group else _said(point, form) for point in points]
        return "\n".join(f"{mark or f'{number}. '}{line}" for number, line in enumerate(lines, 1))
    if any(point.group for point in points):
        groups = [list(inside) for _, inside in groupby(points, key=lambda point: point.group)]
        return "\n\n".join(running(group, form) for group in groups)
    return running(points, form)


def _said(point: Point, form: Form) -> str:
    """A point's sentence, with its speaker."""
    return running([replace(point, group="")], form)


def _called(index: int, document: Named) -> str:
    """How a document is referred to in the answer: "The first paper (on “bail”)"."""
    terms = " and ".join(mention(term) for term in document.about)
    label = f"“{document.source.title}”" if document.source.title else f"on {terms}" if terms else ""
    return f"The {_ORDINALS[index]} {document.noun}" + (f" ({label})" if label else "")


def _both(term: Shared) -> str:
    """What each document says on a shared term."""
    said = [f"the {_ORDINALS[index]} says “{passage.text}”" for index, passage in enumerate(term.passages)]
    return " – ".join(said)


def _running(
    documents: Sequence[Named],
    parts: Sequence[Sequence[Point]],
    shared: Sequence[Shared],
    own: Sequence[Own],
    form: Form,
) -> str:
    """One paragraph: each document in turn, then one point they share."""
    made = [
        f"{_called(index, document)}: " + running(points, form)
        for index, (document, points) in enumerate(zip(documents, parts, strict=True))
    ]
    if not shared and own:
        made.append(f"Only the first speaks of {own[0].term}, only the second of {own[-1].term}.")
    if shared:
        made.append(f"Both speak of {shared[0].term}: {_both(shared[0])}")
    return " ".join(made)


def _table(
    documents: Sequence[Named], parts: Sequence[Sequence[Point]], shared: Sequence[Shared], own: Sequence[Own]
) -> str:
    """A table with a column for each document; shared terms first, then main points, then what is only in one."""
    head = ["", *(_called(index, document).replace("|", "/") for index, document in enumerate(documents))]
    rows = [[term.term, *(passage.text for passage in term.passages)] for term in shared]
    for points in zip(*parts, strict=False):
        rows.append(["Main point", *(sentence_of(point, False) for point in points)])
    for term in own:
        rows.append([term.term, *(term.passage.text if at == term.document else "–" for at in range(len(documents)))])
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)])


def _same(term: Term, other: Source) -> Term | None:
    """The other document's term with the same stems, or any words of it that come often enough."""
    exact = next((candidate for candidate in other.terms if candidate.stems == term.stems), None)
    if exact is not None:
        return exact
    common = common_words()
    if all(word in common for word in term.stems):
        return None
    wanted = set(term.stems)
    places = frozenset(passage.index for passage in other.passages if wanted <= passage.bag)
    return (
        Term(term.text, term.stems, len(places), term.is_name, places, len(places) ** 0.5)
        if len(places) >= _LEAST_PLACES
        else None
    )


def _best(source: Source, term: Term, shown: frozenset[int]) -> Passage | None:
    """The passage on a term that stands alone best and is most central, of those not shown yet."""
    fitting = [source.passages[index] for index in sorted(term.places) if index not in shown]
    if not fitting:
        return None
    return max(
        fitting, key=lambda passage: (passage.quality * (0.4 + source.centrality[passage.index]), -passage.index)
    )


def _vocabulary(source: Source) -> frozenset[str]:
    """All stems of a document."""
    return frozenset().union(*(passage.bag for passage in source.passages))


def _distinct(found: Sequence[Shared]) -> list[Shared]:
    """Shared terms without those that would show a passage again."""
    kept: list[Shared] = []
    for candidate in found:
        if not any(
            mine.index == theirs.index
            for other in kept
            for mine, theirs in zip(candidate.passages, other.passages, strict=True)
        ):
            kept.append(candidate)
    return kept
