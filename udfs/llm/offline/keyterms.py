"""Key terms, names and the title of a document, each with the spelling the document uses.

It counts word groups and where they stand; it has no dictionary of subjects.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from udfs.llm.offline.passages import Passage
from udfs.llm.offline.words import NO_SPACE, common_words, english_stop_words, generic_stems, stem, stop_words

_WORD = re.compile(rf"[^\W_{NO_SPACE}]+(?:[-’'][^\W_{NO_SPACE}]+)*|[{NO_SPACE}]+|[^\w\s]")
_WEAK_ENDING = re.compile(r"(?:ly|ed|ing|ous|ful|able|ible|less|ive|ish|est|ical)$")
_WEAK_LAST = re.compile(r"(?:ly|ous|ful|able|ible|ive|ed)$")
_NOUNISH = re.compile(r"(?:tion|sion|ment|ness|ity|ance|ence|ism|ship|er|or|ist|ure|age|ics|ogy|graph|gram|s)$")
_PLAIN_WORD = 0.6  # the weight of a single word that may well be no noun
_BINS = 12
_MAX_WORDS = 3
_MIN_TIMES = 2
_MIN_LETTERS = 4
_LONGEST = 40  # characters a word can have
_ALONE = 0.5  # a name that mostly stands in longer names is only a part of them
_NAME_SHARE = 0.7
_ROMAN = re.compile(r"[IVXLC]+$")
_CONTAINED = 0.6  # a term is dropped when so much of it is a longer term

_TITLE_CHARS = 110
_NOT_A_TITLE = re.compile(
    r"(?i)^\W*(?:exhibit\b|introduction|abstract|background|review ?#|table of contents|page \d|overview|"
    r"technical field|cross-reference|field of|contents|copyright|chapter\b|act (?:one|i)\b|scene\b|\[|opening credits|"
    r"\d+\W*$|good (?:morning|afternoon)|hello|thank you|greetings|replace\b|the seed)|:\s*$"
)


@dataclass
class _Candidate:
    times: int = 0
    inside: int = 0  # not at a sentence's start, where capitals mean nothing
    capital: int = 0  # of those, how many with capitals
    alone: int = 0  # not beside another capitalised word
    forms: Counter[str] = field(default_factory=Counter)
    places: set[int] = field(default_factory=set)
    bins: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Term:
    """A key term in the document's own spelling, with the passages (by index) it stands in."""

    text: str
    stems: tuple[str, ...]
    times: int
    is_name: bool
    places: frozenset[int]
    score: float

    @property
    def is_telling(self) -> bool:
        """Whether it is a name, a group of words, or by its ending a noun."""
        return self.is_name or len(self.stems) > 1 or bool(_NOUNISH.search(self.text))

    @property
    def is_generic(self) -> bool:
        """Whether it says what kind of text it is rather than what it is about."""
        return generic_stems().issuperset(self.stems)


def key_terms(found: Sequence[Passage], limit: int = 24) -> list[Term]:
    """The terms a document comes back to, best first; at most `limit`."""
    candidates = _candidates(found)
    terms = [
        Term(
            text=_spelling(candidate),
            stems=key,
            times=candidate.times,
            is_name=_is_name(candidate),
            places=frozenset(candidate.places),
            score=_score(key, candidate),
        )
        for key, candidate in candidates.items()
        if candidate.times >= _MIN_TIMES and _is_term(key, candidate)
    ]
    terms.sort(key=lambda term: (-term.score, term.text))
    return _without_contained(terms[: 6 * limit])[:limit]


def names(terms: Iterable[Term]) -> list[Term]:
    """Those terms that are always written as names."""
    return [term for term in terms if term.is_name]


def title_of(document: str) -> str:
    """The document's title where its opening shows one, else an empty string."""
    for line in document[:2_000].splitlines()[:6]:
        plain = re.sub(r"<[^>]{1,40}>.*", "", line).strip(' \t#*=_"“”')
        plain = re.sub(r"\s+-\s+wikipedia.*$", "", plain, flags=re.IGNORECASE)
        plain = re.sub(r",? by [A-Z].*$|\s*\[[^\]]*\]$", "", " ".join(plain.split()))
        plain = re.sub(r"(?<=\() | (?=\))", "", plain)
        if not plain:
            continue
        words = plain.split()
        is_title = (
            len(plain) <= _TITLE_CHARS
            and 2 <= len(words) <= 14
            and not _NOT_A_TITLE.search(plain)
            and not plain.endswith((".", ";", ",", "?", ":"))
            and " : " not in plain
            and sum(word[:1].isupper() or word.lower() in stop_words() for word in words) >= 0.7 * len(words)
        )
        if not is_title:
            return ""
        return plain.title().replace("'S", "'s").replace("’S", "’s") if plain.isupper() else plain
    return ""


def _candidates(found: Sequence[Passage]) -> dict[tuple[str, ...], _Candidate]:
    """All word groups of one to three content words, keyed by their stems."""
    candidates: dict[tuple[str, ...], _Candidate] = defaultdict(_Candidate)
    for passage in found:
        run: list[tuple[str, bool]] = []  # (word, stands at the sentence's start)
        place = min(_BINS - 1, int(passage.position * _BINS))
        for number, word in enumerate(_WORD.findall(passage.text)):
            bare = re.sub(r"['’][sS]?$", "", word)
            low = bare.lower()
            if _parts_groups(bare, low, inside=number > 0):
                _count(run, candidates, passage.index, place)
                run = []
                continue
            run.append((bare, number == 0))
            if bare != word:  # a possessive ends a group
                _count(run, candidates, passage.index, place)
                run = []
        _count(run, candidates, passage.index, place)
    return candidates


def _parts_groups(word: str, low: str, *, inside: bool) -> bool:
    """Whether a word ends a group: function words do, unless a capital inside the sentence makes them a name's."""
    if len(word) > _LONGEST or not word[:1].isalpha() or "'" in low or "’" in low:
        return True
    if inside and word[:1].isupper():
        return low in english_stop_words() and word != "New"
    return low in stop_words()


def _count(
    run: list[tuple[str, bool]],
    candidates: dict[tuple[str, ...], _Candidate],
    index: int,
    place: int,
) -> None:
    """Count every group of neighbouring words in a run."""
    stems = [stem(word.lower()) for word, _ in run]
    for size in range(1, _MAX_WORDS + 1):
        for first in range(len(run) - size + 1):
            words = [word for word, _ in run[first : first + size]]
            candidate = candidates[tuple(stems[first : first + size])]
            candidate.times += 1
            candidate.forms[" ".join(words)] += 1
            candidate.places.add(index)
            candidate.bins.add(place)
            inside = words[1:] if run[first][1] else words
            candidate.inside += bool(inside)
            around = [word for word, _ in (*run[max(0, first - 1) : first], *run[first + size : first + size + 1])]
            candidate.alone += not any(word[:1].isupper() for word in around)
            candidate.capital += bool(inside) and all(word[:1].isupper() for word in inside)


def _is_term(key: tuple[str, ...], candidate: _Candidate) -> bool:
    """Whether a group can be what a text is about."""
    common = common_words()
    if _is_name(candidate) and candidate.alone < _ALONE * candidate.times:
        return False
    form = candidate.forms.most_common(1)[0][0]
    words = form.lower().split()
    known = [word in common or part in common for word, part in zip(words, key, strict=True)]
    if len(words) == 1:
        if _ROMAN.match(form):
            return False
        acronym = form.isupper() and 2 <= len(form) <= 6
        if known[0] or len(form) < 2 or (len(form) < _MIN_LETTERS and not acronym and form.isascii()):
            return False
        return _is_name(candidate) or not _WEAK_ENDING.search(form)
    if all(known) or len(set(key)) < len(key):
        return False
    return not _WEAK_LAST.search(words[-1]) and not words[0].endswith("ly") and min(map(len, words)) > 1


def _is_name(candidate: _Candidate) -> bool:
    """Whether it is nearly always written with capitals."""
    return candidate.capital >= max(2, _NAME_SHARE * candidate.inside)


def _score(key: tuple[str, ...], candidate: _Candidate) -> float:
    """Times, spread over the document, a bonus for groups and names."""
    spread = len(candidate.bins) / _BINS
    plain = len(key) == 1 and not _is_name(candidate) and not _NOUNISH.search(_spelling(candidate))
    return (_PLAIN_WORD if plain else 1.0) * float(
        len(candidate.places) ** 0.75
        * (1.0 + 0.9 * (len(key) - 1))
        * (0.4 + spread)
        * (1.25 if _is_name(candidate) else 1.0)
    )


def _spelling(candidate: _Candidate) -> str:
    """The most frequent spelling; a capital that only stands at sentence starts is taken back."""
    top = max(candidate.forms.values())
    form = min(form for form, times in candidate.forms.items() if times == top)
    small = form[:1].lower() + form[1:]
    return small if not _is_name(candidate) and small in candidate.forms else form


def _without_contained(terms: Sequence[Term]) -> list[Term]:
    """Drop terms that mostly occur inside another kept one, and longer ones that add nothing."""
    kept: list[Term] = []
    for term in terms:
        words = set(term.stems)
        clash = any(
            (words < set(other.stems) and len(term.places & other.places) >= _CONTAINED * len(term.places))
            or set(other.stems) <= words
            for other in kept
        )
        if not clash:
            kept.append(term)
    return kept
