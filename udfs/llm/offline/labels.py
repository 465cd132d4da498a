"""Names a cluster of free-form document types, and chooses the label of a closed list that fits a document.

It compares genres and words; it learns nothing and keeps nothing between calls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from udfs.llm.offline.genres import genre_named, genre_scores, genres
from udfs.llm.offline.words import content_stems, stem, stop_words, tokens

_MAX_LABEL_WORDS = 4
_STRONG = 0.4  # of the leading genre's votes, for a genre to come before other wordings of the leading one
_NEAR = 0.45  # what a neighbouring genre counts, of the genre itself
_SHARPNESS = 0.6  # of the softmax over genre scores
_HEAD_CHARS = 20_000
_WORD_WEIGHT = 0.35  # of words the label and the document share


def type_label(examples: Sequence[str], taken: Sequence[str]) -> str:
    """A label of one to four words for the examples, which stand nearest first; none of `taken`.

    The genre most examples mean, else one of its wordings, else an example itself, else a second genre.
    """
    used = {_folded(label) for label in taken}
    cleaned = [" ".join(example.split()) for example in examples if example.strip()]
    for candidate in _candidates(cleaned):
        short = " ".join(candidate.split()[:_MAX_LABEL_WORDS])
        if short and _folded(short) not in used:
            return short
    number = 2
    base = " ".join((cleaned[0] if cleaned else "document").split()[: _MAX_LABEL_WORDS - 1])
    while _folded(f"{base} {number}") in used:
        number += 1
    return f"{base} {number}"


def _candidates(examples: Sequence[str]) -> list[str]:
    """Labels from the best to the last resort."""
    meant = [genre_named(example) for example in examples]
    votes: Counter[str] = Counter()
    for rank, genre in enumerate(meant):
        if genre is not None:
            votes[genre.name] += 100 - min(rank, 50)  # nearer examples count a little more
    ranked = sorted(votes, key=lambda name: (-votes[name], name))
    strong = [name for name in ranked if votes[name] >= _STRONG * votes[ranked[0]]]
    candidates = list(strong)  # another genre keeps the labels apart better than another wording of this one
    if ranked:
        lead = ranked[0]
        wordings = Counter(
            example for example, genre in zip(examples, meant, strict=True) if genre and genre.name == lead
        )
        short = [wording for wording in wordings if len(wording.split()) <= _MAX_LABEL_WORDS]
        candidates += sorted(short, key=lambda wording: (-wordings[wording], wording))
        candidates += genres()[lead].variants
    candidates += ranked[1:]
    counts = Counter(examples)
    return candidates + sorted(counts, key=lambda example: (-counts[example], example))


def document_label(text: str, labels: Sequence[str]) -> str:
    """The label that fits the document best; the earliest one wins a tie. Empty when there are no labels."""
    if not labels:
        return ""
    beliefs = _beliefs(text)
    words = Counter(content_stems(text[:_HEAD_CHARS]))
    top = max(words.values(), default=1)
    scores = [_fit(label, beliefs) + _WORD_WEIGHT * _shared(label, words, top) for label in labels]
    return labels[scores.index(max(scores))]


def _beliefs(text: str) -> dict[str, float]:
    """Belief in each genre, as a softmax over the cue scores."""
    scores = genre_scores(text)
    top = max(scores.values())
    raw = {name: math.exp(_SHARPNESS * (score - top)) for name, score in scores.items()}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}


def _fit(label: str, beliefs: dict[str, float]) -> float:
    """How well a label's genre agrees with what is believed of the document, neighbours included."""
    genre = genre_named(label)
    if genre is None:
        return 0.0
    near = sum(beliefs[name] for name, other in genres().items() if genre.name in other.near and name != genre.name)
    exact = 0.02 if _folded(label) == genre.name else 0.0  # the plain name before a narrower wording of it
    return beliefs[genre.name] + _NEAR * near + exact


def _shared(label: str, words: Counter[str], top: int) -> float:
    """How frequent the label's own words are in the document, 0..1."""
    own = [stem(token) for token in tokens(label) if token not in stop_words()]
    return sum(math.sqrt(words[word] / top) for word in own) / len(own) if own else 0.0


def _folded(label: str) -> str:
    """A label for comparison."""
    return " ".join(label.lower().split())
