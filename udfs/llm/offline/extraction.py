"""Picks the passages that carry an operation: central, on the point, spread over the whole document.

It ranks what the document offers and writes nothing itself; the same document and request give the same picks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from udfs.llm.offline.keyterms import Term, names
from udfs.llm.offline.operations import DATE, FALLBACK, OPERATIONS, Operation
from udfs.llm.offline.passages import Passage
from udfs.llm.offline.source import Source

_SUBJECT = 1.6  # bonus for a sentence that opens with its topic
_MIN_STRICT = 0.6  # of the wanted points must have the cue, else the others are let in
_LABEL_TERMS = 16  # terms good enough for a label


@dataclass(frozen=True)
class Point:
    """One point of an answer: its label (may be empty), the group it belongs to, its sentences in order."""

    label: str
    group: str
    passages: tuple[Passage, ...]
    score: float


def points(source: Source, operation: Operation, count: int, topics: Sequence[Term] = ()) -> list[Point]:
    """About `count` points for an operation, in the order they are to be read.

    `topics` are the terms a topic or contrast is about, or that the request wants to see among others. Falls
    back to a summary where the operation finds too little.
    """
    rank = _ranking(source, operation)
    if operation.mode == "topic" and topics:
        return _about(source, topics[0], count, rank)
    if operation.mode == "contrast" and len(topics) >= 2:
        halves = [_about(source, topic, max(1, count // 2), rank, group=_capital(topic.text)) for topic in topics[:2]]
        if all(halves):
            return [point for half in halves for point in half]
    by_mode = {"groups": _grouped, "terms": _by_term, "names": _by_name, "parts": _by_part}
    if operation.mode in by_mode:
        found = by_mode[operation.mode](source, operation, count, rank)
        if len(found) >= min(3, count):
            return found
    if operation.mode == "coverage":
        return _covering(source, operation, count, rank, topics)
    return _covering(source, FALLBACK, count, _ranking(source, FALLBACK), topics)


Rank = Callable[[Passage], float]


def _ranking(source: Source, operation: Operation) -> Rank:
    """The worth of a passage for an operation: standing alone well, being central, having the cue."""
    centrality = source.centrality

    def rank(passage: Passage) -> float:
        cue = operation.cue
        has_cue = bool(cue.search(passage.text)) if cue is not None else False
        return passage.quality * (0.25 + centrality[passage.index] + operation.weight * has_cue)

    return rank


def _spread(
    candidates: Sequence[Passage],
    count: int,
    rank: Rank,
    avoid: Iterable[Passage] = (),
    already: Iterable[Passage] = (),
) -> list[Passage]:
    """The best passage of each of `count` equal stretches of text, without near repeats, in order.

    Those in `already` count among the chosen, those in `avoid` are kept away from.
    """
    chosen = list(already)
    shut_out = list(avoid)
    for stretch in range(count):
        if len(chosen) >= count:
            break
        if any(stretch / count <= p.position < (stretch + 1) / count for p in chosen):
            continue
        inside = [p for p in candidates if stretch / count <= p.position < (stretch + 1) / count]
        _take_best(inside, chosen, shut_out, rank)
    while len(chosen) < count and _take_best(candidates, chosen, shut_out, rank):
        pass
    return sorted(chosen, key=lambda passage: passage.index)


def _take_best(candidates: Sequence[Passage], chosen: list[Passage], avoid: Sequence[Passage], rank: Rank) -> bool:
    """Add the best candidate that says something new; False when there is none."""
    best: Passage | None = None
    best_worth = 0.0
    for candidate in candidates:
        worth = rank(candidate)
        if worth <= best_worth:
            continue
        worth *= 1.0 - max((_overlap(candidate, other) for other in (*chosen, *avoid)), default=0.0)
        if worth > best_worth:
            best, best_worth = candidate, worth
    if best is None:
        return False
    chosen.append(best)
    return True


def _overlap(one: Passage, other: Passage) -> float:
    """1 for the same passage, else how much of the shorter bag lies in the longer one, squared."""
    if one.index == other.index:
        return 1.0
    shorter = min(len(one.bag), len(other.bag)) or 1
    return float((len(one.bag & other.bag) / shorter) ** 2)


def _covering(source: Source, operation: Operation, count: int, rank: Rank, topics: Sequence[Term] = ()) -> list[Point]:
    """Points from all over the text, one on each topic among them; cue sentences where the operation insists."""
    candidates: Sequence[Passage] = source.passages
    if operation.strict and operation.cue is not None:
        cue = operation.cue
        with_cue = [passage for passage in candidates if cue.search(passage.text)]
        candidates = with_cue if len(with_cue) >= max(3, _MIN_STRICT * count) else candidates
    open_to = {passage.index for passage in candidates}
    asked: list[Passage] = []
    for topic in topics[: max(0, count - 1)]:
        if not any(passage.index in topic.places for passage in asked):
            places = [source.passages[index] for index in sorted(topic.places)]
            fitting = [passage for passage in places if passage.index in open_to] or places
            _take_best(fitting, asked, (), rank)
    found = _labelled(source, _spread(candidates, count, rank, already=asked), rank)
    return [_dated(point) for point in found] if operation.name == "timeline" else found


def _dated(point: Point) -> Point:
    """A point labelled with the first date in its sentence, where there is one."""
    date = DATE.search(point.passages[0].text)
    return replace(point, label=date.group() if date else "")


def _about(source: Source, topic: Term, count: int, rank: Rank, group: str = "") -> list[Point]:
    """Points from the passages that speak of a topic, those that open with it first."""
    places = [source.passages[index] for index in sorted(topic.places)]
    worth = _opening_with(topic, rank)
    return _labelled(source, _spread(places, count, worth), worth, group, besides=topic.stems)


def _opening_with(topic: Term, rank: Rank) -> Rank:
    """The rank with a bonus for sentences whose subject is the topic, as far as position tells."""
    opening = re.compile(rf"(?i)\W*(?:the |an? |[A-Z]\w+ )?{re.escape(topic.text)}\b")

    def worth(passage: Passage) -> float:
        return rank(passage) * (_SUBJECT if opening.match(passage.text) else 1.0)

    return worth


def _grouped(source: Source, operation: Operation, count: int, rank: Rank) -> list[Point]:
    """Points for each fixed group; the group's own cue must be there, and counts most."""
    found: list[Point] = []
    each = max(1, math.ceil(count / len(operation.groups)))
    used: list[Passage] = []
    for heading, cue in operation.groups:
        others = [other for _, other in operation.groups if other is not cue]
        clear = {p.index: _clearness(p, cue, others) for p in source.passages}
        fitting = [p for p in source.passages if clear[p.index] > 0]

        def worth(passage: Passage, clear: dict[int, float] = clear) -> float:
            return rank(passage) * clear[passage.index]

        chosen = _spread(fitting, each, worth, used)
        used += chosen
        found += _labelled(source, chosen, rank, heading)
    return found if len({point.group for point in found}) == len(operation.groups) else []


def _clearness(passage: Passage, cue: re.Pattern[str], others: Sequence[re.Pattern[str]]) -> float:
    """How clearly a passage belongs to a group: its cues, less those of the other groups; 0 when it does not."""
    own = len(cue.findall(passage.text))
    foreign = max((len(other.findall(passage.text)) for other in others), default=0)
    return (own - foreign) ** 0.5 if own > foreign else 0.0


def _by_term(source: Source, operation: Operation, count: int, rank: Rank) -> list[Point]:
    """One point for each leading term: the sentence that says most about it."""
    return _for_terms(source, source.topics(), count, rank)


def _by_name(source: Source, operation: Operation, count: int, rank: Rank) -> list[Point]:
    """One point for each leading name, best where the sentence opens with it."""
    return _for_terms(source, names(source.terms), count, rank)


def _for_terms(source: Source, terms: Sequence[Term], count: int, rank: Rank) -> list[Point]:
    """One or two sentences for each term, each sentence once."""
    found: list[Point] = []
    used: list[Passage] = []
    for term in terms[:count]:
        places = [source.passages[index] for index in sorted(term.places)]
        worth = _opening_with(term, rank)
        chosen: list[Passage] = []
        if _take_best(places, chosen, used, worth):
            used += chosen
            found.append(Point(_capital(term.text), "", tuple(chosen), rank(chosen[0])))
    return found


def _by_part(source: Source, operation: Operation, count: int, rank: Rank) -> list[Point]:
    """One point for each headed part of the text; without headings there are no parts."""
    parts: dict[str, list[Passage]] = {}
    for passage in source.passages:
        if passage.heading:
            parts.setdefault(passage.heading, []).append(passage)
    large = sorted(parts, key=lambda heading: (-len(parts[heading]), heading))[: count + 2]
    found: list[Point] = []
    used: list[Passage] = []
    for heading in sorted(large, key=lambda heading: parts[heading][0].index):
        chosen: list[Passage] = []
        if _take_best(parts[heading], chosen, used, rank):
            used += chosen
            found.append(Point(heading, "", tuple(chosen), rank(chosen[0])))
    return found if len(found) >= 3 else []


def _labelled(
    source: Source, chosen: Sequence[Passage], rank: Rank, group: str = "", besides: Sequence[str] = ()
) -> list[Point]:
    """Points for passages; the label is the speaker, or the leading term no other label has yet."""
    found = []
    taken: set[str] = set(besides)
    for passage in chosen:
        label = passage.speaker
        if not label:
            fitting = (t for t in source.terms[:_LABEL_TERMS] if passage.index in t.places and not t.is_generic)
            term = next((t for t in fitting if not taken & set(t.stems)), None)
            label = _capital(term.text) if term else ""
            taken |= set(term.stems) if term else set()
        found.append(Point(label, group, (passage,), rank(passage)))
    return found


def with_following(source: Source, point: Point) -> Point:
    """The point with the sentence that follows its last one, where that one leans on it."""
    last = point.passages[-1]
    if last.index + 1 >= len(source.passages):
        return point
    following = source.passages[last.index + 1]
    leans = following.block == last.block and following.quality >= 0.4 and following.start - last.end <= 3
    return Point(point.label, point.group, (*point.passages, following), point.score) if leans else point


def operation_named(name: str) -> Operation:
    """The operation of that name, or the fallback."""
    return OPERATIONS.get(name, FALLBACK)


def _capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text
