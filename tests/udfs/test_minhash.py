"""Signatures estimate Jaccard resemblance as well as datasketch does, and never change between runs."""

from __future__ import annotations

import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from udfs.minhash import (
    CHUNK,
    band_matrix,
    bands,
    constants,
    signature,
    signature_matrix,
    word_hashes,
)
from udfs.settings import MinhashSettings

SETTINGS = MinhashSettings()


def shingles(text: str, width: int = SETTINGS.shingle_words) -> set[tuple[str, ...]]:
    """The obvious way to shingle what `signature` shingles."""
    words = [re.sub(r"^\W+|\W+$", "", word) for word in text.lower().split()]
    words = [word for word in words if word]
    return {tuple(words[at : at + width]) for at in range(max(len(words) - width + 1, min(len(words), 1)))}


def similarity(a: Sequence[int], b: Sequence[int]) -> float:
    """Share of equal positions of two signatures: an estimate of the Jaccard resemblance of the shingles."""
    return float(np.mean(np.asarray(a) == np.asarray(b)))


def jaccard(a: str, b: str) -> float:
    first, second = shingles(a), shingles(b)
    return len(first & second) / len(first | second)


def edited(rng: random.Random, words: list[str], share: float) -> list[str]:
    return [word if rng.random() > share else f"new{rng.randrange(10**9)}" for word in words]


def pairs(count: int, size: int = 600) -> list[tuple[str, str]]:
    rng = random.Random(11)
    made = []
    for _ in range(count):
        words = [f"w{rng.randrange(40_000)}" for _ in range(rng.randrange(size // 2, size * 2))]
        made.append((" ".join(words), " ".join(edited(rng, words, rng.choice((0.005, 0.02, 0.04, 0.1, 0.2))))))
    return made


def signed(texts: list[str | None], settings_: MinhashSettings = SETTINGS) -> list[list[int] | None]:
    minima, found = signature_matrix(texts, settings_)
    return [row.tolist() if ok else None for row, ok in zip(minima, found, strict=True)]


def sketched(text: str) -> MinHash:
    sketch = MinHash(num_perm=SETTINGS.permutations)
    sketch.update_batch([" ".join(shingle).encode() for shingle in shingles(text)])
    return sketch


def test_estimates_are_as_good_as_theory_and_datasketch() -> None:
    ours, theirs = [], []
    for a, b in pairs(150):
        exact = jaccard(a, b)
        sigma = math.sqrt(exact * (1 - exact) / SETTINGS.permutations) or 1.0
        one, two = signed([a, b])
        assert one is not None and two is not None
        ours.append((similarity(one, two) - exact) / sigma)
        theirs.append((sketched(a).jaccard(sketched(b)) - exact) / sigma)
    assert abs(float(np.mean(ours))) < 0.25
    assert float(np.std(ours)) < 1.2
    assert float(np.std(ours)) < 1.25 * float(np.std(theirs))


def test_near_duplicates_meet_in_a_band_and_strangers_do_not() -> None:
    """Recall at the threshold against exact resemblance; datasketch's own bands are the peer."""
    made = pairs(250)
    flat = [text for pair in made for text in pair]
    minima, _ = signature_matrix(flat, SETTINGS)
    keys = band_matrix(minima.astype(np.uint64), SETTINGS)
    met = [bool(set(keys[2 * n]) & set(keys[2 * n + 1])) for n in range(len(made))]
    rows = SETTINGS.permutations // SETTINGS.bands
    exact = [jaccard(a, b) for a, b in made]
    peers = [np.asarray([sketched(text).hashvalues for text in pair]).reshape(2, SETTINGS.bands, rows) for pair in made]
    peer_met = [bool((pair[0] == pair[1]).all(axis=1).any()) for pair in peers]
    alike = [n for n, value in enumerate(exact) if value >= SETTINGS.threshold]
    assert len(alike) > 40
    assert sum(met[n] for n in alike) / len(alike) >= max(0.9, sum(peer_met[n] for n in alike) / len(alike) - 0.05)
    strangers = [n for n, value in enumerate(exact) if value < 0.3]
    assert sum(met[n] for n in strangers) / len(strangers) < 0.05
    everything = np.concatenate(keys)
    assert len(np.unique(everything)) > 0.5 * len(everything)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.text(max_size=60) | st.just("a b c d e f g " * 900), min_size=1, max_size=8))
def test_a_signature_does_not_depend_on_its_batch(texts: list[str | None]) -> None:
    assert signed(texts) == [one for text in texts for one in signed([text])]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(["ab", "cd", "e,", "--", "(x)", "Ü.", "\n"]), max_size=30).map(" ".join))
def test_equal_shingles_give_equal_signatures_and_empty_texts_none(text: str) -> None:
    (one,) = signed([text])
    (other,) = signed([f"  {text.upper()} ... ! "])
    assert one == other
    assert (one is None) == (not shingles(text))


def test_minima_equal_a_plain_loop() -> None:
    texts = ["one two three", "a b c d e f g h " * 300, "x", " ".join(map(str, range(2 * CHUNK)))]
    hashes, starts, ends = word_hashes(texts)
    small = MinhashSettings(permutations=4, bands=2, seed=3)
    width = small.shingle_words
    factors = [int(c) | 1 for c in constants(small.seed, width, stream=1)]
    permute = [(int(c) >> 32) | 1 for c in constants(small.seed, 4, stream=2)]
    for text, start, end in zip(signed(list(texts), small), starts, ends, strict=True):
        words = [int(h) for h in hashes[start:end]]
        runs = [words[at : at + width] for at in range(max(len(words) - width + 1, 1))]
        values = [scrambled(sum(h * f for h, f in zip(run, factors, strict=False))) >> 32 for run in runs]
        assert text == [min(a * x % 2**32 for x in values) for a in permute]


def scrambled(x: int) -> int:
    x %= 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def test_scripts_without_spaces_have_words_too() -> None:
    text = "自然言語処理は人工知能の一分野である。機械翻訳や要約などの技術を含む。"
    one, two, other = signed([text, text.replace("要約", "質問"), "まったく関係のない別の文章をここに書いておきます。"])
    assert one is not None and two is not None and other is not None
    assert 0.4 < similarity(one, two) < 1.0
    assert similarity(one, other) < 0.2


def test_values_never_change() -> None:
    """A golden signature: stored ones must stay comparable over versions and hash seeds."""
    code = (
        "from udfs.minhash import *; m, _ = signature_matrix(['the quick brown fox jumps over it'], MinhashSettings());"
        "print(m[0, :3].tolist(), band_matrix(m.astype('uint64'), MinhashSettings())[0, :2].tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {GOLDEN}


GOLDEN = "[3244986966, 1381057025, 758704045] [-2638979545077985939, -6030164978800744041]\n"


def test_seeds_and_bands() -> None:
    a, b = (
        signed(["some text of six words here"])[0],
        signed(["some text of six words here"], MinhashSettings(seed=2))[0],
    )
    assert a != b
    with pytest.raises(ValueError, match="not a multiple"):
        bands(MinhashSettings(permutations=100, bands=16))


@pytest.mark.spark
def test_signatures_and_bands_in_spark(spark: SparkSession) -> None:
    (a, b), (c, _) = pairs(2)
    rows = [(0, a), (1, b), (2, c), (3, None), (4, " ... ")]
    frame = spark.createDataFrame(rows, "n int, text string").repartition(2)
    frame = frame.withColumn("signature", signature(SETTINGS)("text")).withColumn("keys", bands(SETTINGS)("signature"))
    found = frame.orderBy("n").collect()
    assert [row["signature"] for row in found] == signed([a, b, c, None, None])
    assert [row["keys"] is None for row in found] == [False, False, False, True, True]
    expected = band_matrix(np.asarray([row["signature"] for row in found[:3]], np.uint64), SETTINGS)
    assert [row["keys"] for row in found[:3]] == expected.tolist()
