"""Planted samples are what they say and share neither wording nor words with the training; figures are right."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pytest

from tests.udfs.models.influence.planted import ATTRIBUTES, FACTS, FAR, NEAR, QUESTIONS, Field, unseen_words
from tests.udfs.models.influence.planted_figures import auc, precision
from udfs.models.influence.training import tasks

TEXT = " ".join(f"word{at % 50:c<{4 + at % 3}} lies besides {at % 7} others," for at in range(97, 3_000))
WORDS = [f"{one}{two}name" for one, two in product("abcdefgh", repeat=2)]


@pytest.fixture(scope="module")
def planted() -> Field:
    """Words and the spaces before them are tokens here."""
    pieces: dict[str, int] = {}

    def encode(text: str) -> list[int]:
        parts = text.replace(" ", "\0 ").split("\0")
        return [pieces.setdefault(part, len(pieces)) for part in parts if part]

    return Field(TEXT, WORDS, encode, lambda ids: "".join(list(pieces)[at] for at in ids))


def test_nothing_is_shared_with_the_training() -> None:
    assert not set(FACTS) & set(tasks.FACTS) and not set(QUESTIONS) & set(tasks.QUESTIONS)
    assert not set(ATTRIBUTES) & set(tasks.ATTRIBUTES)
    words = unseen_words(TEXT * 3 + " alpha beta gamma delta" * 3)
    assert words and all(int(hashlib.sha256(word.encode()).hexdigest(), 16) % 2 == 1 for word in words)


@pytest.mark.parametrize("asked", [1, 3])
def test_facts_stand_where_they_should(planted: Field, asked: int) -> None:
    for sample in planted.samples(32, 2_300, seed=3, asked=asked):
        ids = planted.encode(str(sample.sample.context))
        said = [planted.decode(ids[start:stop]) for start, stop in sample.spans]
        assert len(ids) == sample.tokens
        assert len(said) == (asked if sample.kind in ("far", "near") else 0)
        if sample.kind == "far":
            assert sample.distance >= FAR
        if sample.kind == "near":
            assert min(start for start, _ in sample.spans) >= sample.tokens - NEAR
        if said:
            assert sample.value in said[0]
            assert (f" {sample.sample.response}" == "".join(said)) is not sample.reworded
            assert sample.segments(128) <= set(range(-(-sample.tokens // 128)))
        if sample.kind == "unsaid":
            assert str(sample.sample.response) not in str(sample.sample.context)


def test_samples_follow_their_seed_alone(planted: Field) -> None:
    one, again, other = (list(planted.samples(8, 2_048, seed)) for seed in (1, 1, 2))
    assert one == again and one != other


def test_auc_counts_pairs_and_is_never_turned_round() -> None:
    draw = np.random.default_rng(0)
    values, far = draw.integers(0, 6, 40).tolist(), (draw.random(40) < 0.4).tolist()
    pairs = [(a, b) for a, x in zip(values, far, strict=True) if x for b, y in zip(values, far, strict=True) if not y]
    assert auc(values, far) == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))
    assert auc([0, 1], [True, False]) == 0.0
    assert precision([3, 2, 1, 0], [True, False, True, False], 0.5) == 0.5
