"""Makes training sequences whose later tokens can be known from far earlier ones: repeats, and facts with questions.

It refuses to know models. All draws come from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

FACTS = (
    "The {a} of {e} is {v}.",
    "{e} has {v} as its {a}.",
    "For {e}, the {a} is {v}.",
    "It is known that the {a} of {e} is {v}.",
    "{e}: {a} = {v}",
    "Records list {v} as the {a} of {e}.",
    "The {a} given for {e} was {v}.",
    "When asked about {e}, everyone named {v} as the {a}.",
    "{v} is the {a} of {e}.",
    "Note: the {a} for {e} is set to {v}.",
    "As for {e}, its {a} is called {v}.",
)
QUESTIONS = (
    "What is the {a} of {e}?",
    "Tell me the {a} of {e}.",
    "Which {a} does {e} have?",
    "Give the {a} for {e}.",
    "{e}: what is its {a}?",
    "What {a} was given for {e}?",
    "Name the {a} of {e}.",
)
ATTRIBUTES = (
    "colour", "password", "owner", "capital", "number", "address", "leader", "motto", "price", "partner", "author",
    "target", "symbol", "origin", "schedule", "material", "guardian", "nickname",
)  # fmt: skip
FRAMES = (
    ("\n\n ### Instruction: ", "\n\n ### Response: "),
    ("\n\n", "\n\n"),
    ("\nQuestion: ", "\nAnswer: "),
)
KINDS = {"text": 0.12, "repeats": 0.13, "text_repeats": 0.20, "facts": 0.55}
UNKNOWN, BARE_OR_OTHER = 0.12, 0.40  # questions about facts never given; answers in another wording
ANSWER, REPEAT, REST, REST_SHARE = 2.0, 1.0, 0.5, 0.2  # loss weights, and how many of the rest count


@dataclass(frozen=True, eq=False)
class Tasks:
    """Draws sequences from natural text (ids), words for names and values, and a tokenizer."""

    encode: Callable[[str], list[int]]
    text: np.ndarray
    words: Sequence[str]
    vocabulary: int
    bos: int
    text_share: float = KINDS["text"]

    def batch(self, draw: np.random.Generator, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """ids int64 [rows, length] and loss weights float32 [rows, length] (of predicting that id)."""
        pairs = [self.sequence(draw, length) for _ in range(rows)]
        return np.stack([ids for ids, _ in pairs]), np.stack([weights for _, weights in pairs])

    def sequence(self, draw: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
        """One sequence, BOS first."""
        rest = (1 - self.text_share) / (1 - KINDS["text"])
        shares = [self.text_share, *(share * rest for kind, share in KINDS.items() if kind != "text")]
        kind = str(draw.choice(list(KINDS), p=np.array(shares) / sum(shares)))
        body = length - 1
        if kind == "text":
            ids, weights = self._natural(draw, body), np.zeros(body)
        elif kind == "facts":
            ids, weights = self._facts(draw, body)
        else:
            ids = self._natural(draw, body) if kind == "text_repeats" else self._noise(draw, body)
            weights = self._paste(draw, ids)
        weights[(weights == 0) & (draw.random(body) < REST_SHARE)] = REST
        if kind == "repeats":
            weights[weights == REST] = 0  # noise cannot be known
        return np.concatenate([[self.bos], ids]), np.concatenate([[0.0], weights]).astype(np.float32)

    def _natural(self, draw: np.random.Generator, n: int) -> np.ndarray:
        start = int(draw.integers(len(self.text) - n))
        return self.text[start : start + n].astype(np.int64)

    def _noise(self, draw: np.random.Generator, n: int) -> np.ndarray:
        size = int(np.exp(draw.uniform(np.log(16), np.log(self.vocabulary))))
        return draw.choice(draw.choice(self.vocabulary, size, replace=False), n)

    @staticmethod
    def _paste(draw: np.random.Generator, ids: np.ndarray) -> np.ndarray:
        """Paste spans again later on, in place; the weights of what can be known."""
        n, at = len(ids), len(ids) // 4
        weights = np.zeros(n)
        while at < n - 8:
            span = int(draw.integers(8, max(9, min(64, at, n - at))))
            source = int(draw.integers(0, at - span + 1)) if at > span else 0
            span = min(span, n - at)
            ids[at : at + span] = ids[source : source + span]
            weights[at + 2 : at + span] = REPEAT  # the first two tell which span it is
            at += span + int(draw.integers(4, 48))
        return weights

    def _facts(self, draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Natural text with facts strewn in, then questions and answers about them."""
        count = max(2, n // 96)
        facts = self._draw_facts(draw, count)
        tail: list[int] = []
        weights: list[float] = []
        frame = FRAMES[int(draw.integers(len(FRAMES)))]
        while len(tail) < n // 4:
            ask, answer = self._question(draw, facts)
            lead = self.encode(frame[0] + ask + frame[1])
            ids = self.encode(answer)
            tail += lead + ids
            weights += [0.0] * len(lead) + [ANSWER] * len(ids)
        tail, weights = tail[: n // 2], weights[: n // 2]
        planted = [self.encode(f" {self._say(draw, fact)} ") for fact in facts]
        while sum(map(len, planted)) > n - len(tail):
            planted.pop()
        filler = self._natural(draw, n - len(tail) - sum(map(len, planted)))
        places = np.sort(draw.integers(0, len(filler) + 1, len(planted)))
        pieces = np.split(filler, places)
        body = [pieces[0]]
        for ids, piece in zip(planted, pieces[1:], strict=True):
            body += [np.array(ids, dtype=np.int64), piece]
        return np.concatenate([*body, tail]).astype(np.int64), np.array([0.0] * (n - len(tail)) + weights)

    def _draw_facts(self, draw: np.random.Generator, count: int) -> list[dict[str, str]]:
        """Facts about different things; in half of the sequences all in one wording about one attribute, so that
        only the thing's name tells them apart."""
        alike = draw.random() < 0.5
        names = draw.choice(self._array, (count, 2))
        values = draw.choice(self._array, (count, 2))
        attributes = draw.choice(ATTRIBUTES, count)
        wordings = draw.choice(FACTS, count)
        return [
            {
                "e": " ".join(names[at]),
                "v": " ".join(values[at][: 1 + at % 2]) if at % 3 else str(draw.integers(100, 99_999)),
                "a": str(attributes[0 if alike else at]),
                "wording": str(wordings[0 if alike else at]),
            }
            for at in range(count)
        ]

    @staticmethod
    def _say(draw: np.random.Generator, fact: dict[str, str]) -> str:
        return fact["wording"].format(**fact)

    def _question(self, draw: np.random.Generator, facts: list[dict[str, str]]) -> tuple[str, str]:
        fact = facts[int(draw.integers(len(facts)))]
        if draw.random() < UNKNOWN:
            fact = self._draw_facts(draw, 1)[0]
        ask = str(draw.choice(QUESTIONS)).format(**fact)
        if draw.random() < BARE_OR_OTHER:
            return ask, fact["v"] if draw.random() < 0.5 else str(draw.choice(FACTS)).format(**fact)
        return ask, fact["wording"].format(**fact)

    @cached_property
    def _array(self) -> np.ndarray:
        return np.array(self.words)
