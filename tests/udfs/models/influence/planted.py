"""Makes samples whose answer depends on a planted fact, far back or near, or on nothing: what scorers must tell apart.

Wordings, questions, attributes, names, values and the text around them are unlike those the embedded pair learned from.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from udfs.models.influence.recipe import Sample

FACTS = (
    "Visitors who come to {e} learn that {v} serves as {a} there.",
    "Under the heading {a}, the catalogue entry on {e} reads {v}.",
    "Somebody wrote {v} next to {e} in the column headed {a}.",
    "We settled on {v} when {e} had to get a new {a}.",
    "Nobody disputes that {e} chose {v} for a {a}.",
    "Turning to {e}, the ledger shows one {a}, namely {v}.",
    "If you look up {e}, you will find {v} entered as {a}.",
    "{e} goes by {v} as far as the {a} is concerned.",
)
QUESTIONS = (
    "Could you look up which {a} belongs to {e}?",
    "I need to know the {a} that goes with {e}.",
    "Please find out about {e}: which {a}?",
    "According to the text, what should I write down as {a} for {e}?",
    "Can you see from this who or what {e} uses as {a}?",
)
ATTRIBUTES = (
    "emblem", "harbour", "steward", "currency", "anthem", "patron", "frequency", "reagent", "dialect", "festival",
    "courier", "vessel",
)  # fmt: skip
FAR, NEAR = 1_500, 200  # tokens: a far fact ends that long before the context's end, a near one starts later
AROUND = 192  # tokens kept free for headings, question and answer
FACT_EVERY = 256  # context tokens for each fact that is not asked about
Kind = Literal["far", "near", "unsaid", "unrelated"]
KINDS: tuple[Kind, ...] = ("far", "far", "far", "far", "near", "near", "unsaid", "unrelated")


@dataclass(frozen=True)
class Planted:
    """A sample and what its answer rests on.

    kind: `far`, `near`; `unsaid`: a fact that is not in the context; `unrelated`: a sentence of other text
    reworded: whether the answer's wording is another than the fact's; value: what is asked for (first)
    spans: [start, end) of the facts asked about, in tokens of the context; tokens: of the context
    """

    id: str
    kind: Kind
    reworded: bool
    value: str
    spans: tuple[tuple[int, int], ...]
    tokens: int
    sample: Sample

    @property
    def distance(self) -> int:
        """Tokens between the last of the facts and the context's end."""
        return self.tokens - max((end for _, end in self.spans), default=0)

    def segments(self, size: int) -> set[int]:
        """Segments that hold a part of a fact asked about."""
        return {at for start, end in self.spans for at in range(start // size, (end - 1) // size + 1)}


def unseen_words(text: str) -> list[str]:
    """Words that the training never uses as a name or a value: it takes those of even hash."""
    counts = Counter(re.findall(r"\b[a-z]{4,9}\b", text))
    words = sorted(word for word, count in counts.items() if count >= 3)
    return [word for word in words if int(hashlib.sha256(word.encode()).hexdigest(), 16) % 2 == 1]


@dataclass(frozen=True, eq=False)
class Field:
    """Where facts are planted: a text in ASCII, words for names and values, the pair's tokenizer."""

    text: str
    words: Sequence[str]
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]

    def samples(
        self, count: int, length: int, seed: int, kinds: tuple[Kind, ...] = KINDS, asked: int = 1
    ) -> Iterator[Planted]:
        """`count` samples of sequences of up to `length` tokens, kinds by turns, wordings by halves.

        asked: facts that one question asks about and one answer gives
        """
        for at in range(count):
            kind = kinds[at % len(kinds)]
            draw = np.random.default_rng([seed, length, at])
            name = f"{length}-{seed}-{at:04d}-{kind}"
            yield self._sample(draw, kind, at // len(kinds) % 2 == 1, length - AROUND - 48 * (asked - 1), asked, name)

    def _sample(
        self, draw: np.random.Generator, kind: Kind, reworded: bool, room: int, asked: int, name: str
    ) -> Planted:
        """Half of the contexts hold facts of one wording and attribute, told apart by names alone."""
        wordings = [str(at) for at in draw.permutation(FACTS)]
        facts = [self._fact(draw) for _ in range(asked)]
        facts = [{**fact, "a": facts[0]["a"]} for fact in facts]
        own = [self.encode(" " + wordings[0].format(**fact)) for fact in facts if kind in ("far", "near")]
        alike = draw.random() < 0.5
        others = [self._other(draw, facts[0]["a"], wordings, alike) for _ in range(room // FACT_EVERY)]
        filler = self._filler(draw, room - sum(map(len, own)) - sum(map(len, others)))
        places = self._gaps(filler, draw.integers(1, len(filler) - NEAR, len(others)))
        places += self._gaps(filler, self._places(draw, kind, len(filler), own, places, others))
        ids, starts = _strewn(filler, places, others + own)
        spans = [self._span(ids, start, len(fact)) for start, fact in zip(starts[len(others) :], own, strict=True)]
        context = self.decode(ids)
        wording = wordings[1] if reworded or kind == "unsaid" else wordings[0]
        said = " ".join(wording.format(**fact) for fact in facts)
        question = str(draw.choice(QUESTIONS)).format(e=" and ".join(fact["e"] for fact in facts), a=facts[0]["a"])
        return Planted(
            id=name,
            kind=kind,
            reworded=reworded and bool(own),
            value=facts[0]["v"],
            spans=tuple(spans),
            tokens=len(self.encode(context)),
            sample=Sample(context, question, self._sentence(draw, len(facts)) if kind == "unrelated" else said),
        )

    @staticmethod
    def _places(
        draw: np.random.Generator, kind: Kind, n: int, own: list[list[int]], places: list[int], others: list[list[int]]
    ) -> np.ndarray:
        """Places in the filler for the facts asked about: far from the end, or near it."""
        if kind == "near":
            return draw.integers(n - NEAR + sum(map(len, own)) + 16, n - 8, len(own))
        after = n - np.arange(n)  # tokens from each place of the filler to the end
        for place, other in zip(places, others, strict=True):
            after[: place + 1] += len(other)
        highest = int((after >= FAR + sum(map(len, own)) + 8).sum())
        return draw.integers(16, highest, len(own))

    def _span(self, ids: list[int], start: int, size: int) -> tuple[int, int]:
        """Where a fact stands once the context is a text that is tokenised anew."""
        first = len(self.encode(self.decode(ids[:start])))
        return first, first + size

    def _gaps(self, ids: Sequence[int], places: np.ndarray) -> list[int]:
        """The last places up to these where a word begins with its space, so that no piece is cut otherwise."""
        found = []
        for place in places.tolist():
            at = place
            while at > 0 and ids[at] not in self._spaced:
                at -= 1
            found.append(at)
        return found

    @cached_property
    def _spaced(self) -> frozenset[int]:
        return frozenset(at for at in set(self._stream) if re.fullmatch(r" [a-z]+", self.decode([at])))

    @cached_property
    def _stream(self) -> list[int]:
        return self.encode(self.text)

    def _filler(self, draw: np.random.Generator, count: int) -> list[int]:
        start = int(draw.integers(len(self._stream) - count))
        return self._stream[start : start + count]

    def _fact(self, draw: np.random.Generator) -> dict[str, str]:
        words = [str(at) for at in draw.choice(self.words, 4, replace=False)]
        value = str(draw.integers(100, 99_999)) if draw.random() < 0.33 else " ".join(words[2 : 3 + draw.integers(2)])
        return {"e": " ".join(words[:2]), "v": value, "a": str(draw.choice(ATTRIBUTES))}

    def _other(self, draw: np.random.Generator, attribute: str, wordings: list[str], alike: bool) -> list[int]:
        """A fact that is not asked about; its wording is never that of an answer alone."""
        fact = self._fact(draw)
        if alike:
            return self.encode(" " + wordings[0].format(**{**fact, "a": attribute}))
        return self.encode(" " + wordings[int(draw.integers(2, len(wordings)))].format(**fact))

    def _sentence(self, draw: np.random.Generator, facts: int) -> str:
        """A piece of other text, as long as an answer."""
        return self.decode(self._filler(draw, facts * int(draw.integers(12, 30)))).strip() or "."


def _strewn(filler: list[int], places: list[int], facts: list[list[int]]) -> tuple[list[int], list[int]]:
    """The filler with facts put in at its places, and where each of them starts then."""
    ids: list[int] = []
    starts = [0] * len(facts)
    last = 0
    for at in sorted(range(len(facts)), key=lambda at: places[at]):
        ids += filler[last : places[at]]
        last = places[at]
        starts[at] = len(ids)
        ids += facts[at]
    return ids + filler[last:], starts
