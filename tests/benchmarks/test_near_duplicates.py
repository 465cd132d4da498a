"""Near duplicates against datasketch: signatures, bands and comparison of the same texts, found pairs counted alike."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest

from tests.benchmarks.synthetic import documents
from tests.benchmarks.timing import interleaved, ratio, say, scaled
from udfs.minhash import band_matrix, signature_matrix
from udfs.settings import MinhashSettings

SETTINGS = MinhashSettings()
ROWS = 500  # texts at a time, as Spark hands them over
Pairs = set[tuple[int, int]]

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def corpus(megabytes: float) -> tuple[list[str], Pairs]:
    """Unique texts; every fourth comes again with up to a fifth of its words changed. And who is whose copy.

    Copies are short work for the peer too, and only many of them tell a recall from chance.
    """
    texts = documents(megabytes, seed=4, median_words=700)
    rng = np.random.default_rng(5)
    copies = []
    for text in texts[::4]:
        words = text.split(" ")
        changed = rng.random(len(words)) < rng.choice([0.002, 0.01, 0.02, 0.05, 0.2])
        copies.append(" ".join(f"{word}x" if new else word for word, new in zip(words, changed, strict=True)))
    return texts + copies, {(4 * copy, len(texts) + copy) for copy in range(len(copies))}


def by_longloom(texts: list[str]) -> Pairs:
    parts = [signature_matrix(texts[start : start + ROWS], SETTINGS)[0] for start in range(0, len(texts), ROWS)]
    signatures = np.concatenate(parts)
    met: dict[int, list[int]] = defaultdict(list)
    for row, keys in enumerate(band_matrix(signatures.astype(np.uint64), SETTINGS).tolist()):
        for key in keys:
            met[key].append(row)
    pairs = {pair for rows in met.values() if len(rows) > 1 for pair in itertools.combinations(rows, 2)}
    return {(a, b) for a, b in pairs if np.mean(signatures[a] == signatures[b]) >= SETTINGS.threshold}


def by_datasketch(texts: list[str]) -> Pairs:
    """Its documented way with the same words, shingles, permutations and bands."""
    from datasketch import MinHash, MinHashLSH

    bands = SETTINGS.bands
    index = MinHashLSH(num_perm=SETTINGS.permutations, params=(bands, SETTINGS.permutations // bands))
    signed, pairs = [], set()
    for row, text in enumerate(texts):
        signed.append(MinHash(num_perm=SETTINGS.permutations, seed=SETTINGS.seed))
        signed[row].update_batch([shingle.encode() for shingle in shingles(text)])
        pairs |= {(other, row) for other in index.query(signed[row])}
        index.insert(row, signed[row])
    return {(a, b) for a, b in pairs if signed[a].jaccard(signed[b]) >= SETTINGS.threshold}


def shingles(text: str) -> set[str]:
    words = text.lower().split()
    width = SETTINGS.shingle_words
    return {" ".join(words[i : i + width]) for i in range(max(len(words) - width + 1, 1))}


def resemblance(a: str, b: str) -> float:
    """The share of shingles in common: the truth that signatures estimate."""
    one, two = shingles(a), shingles(b)
    return len(one & two) / len(one | two)


def test_near_duplicates() -> None:
    texts, planted = corpus(scaled(40_000) / 1e3)
    megabytes = sum(map(len, texts)) / 1e6
    found = interleaved({"datasketch": lambda: by_datasketch(texts), "longloom": lambda: by_longloom(texts)}, rounds=2)
    exact = {(a, b): resemblance(texts[a], texts[b]) for a, b in planted}
    truth = {pair for pair, value in exact.items() if value >= SETTINGS.threshold}
    recall = {name: len(timed.result & truth) / len(truth) for name, timed in found.items()}
    precision = {name: len(timed.result & truth) / max(len(timed.result), 1) for name, timed in found.items()}
    # A pair of 0.95 lies eight standard deviations above the threshold and shares no band once in 30 million.
    assert {pair for pair, value in exact.items() if value >= 0.95} <= found["longloom"].result
    # Both estimate the same resemblance with the same number of hashes; pairs at the threshold fall either way: a third
    # of the pairs, each missed by one of the two in four cases of ten, so that this is three standard deviations.
    assert abs(recall["longloom"] - recall["datasketch"]) < 1 / len(truth) ** 0.5
    ours, theirs = found["longloom"], found["datasketch"]
    say(
        "near duplicates",
        f"{len(texts):,} texts, {megabytes:.0f} MB, one core: longloom {megabytes / ours.warm_cpu:.1f} MB/s, "
        f"datasketch "
        f"{megabytes / theirs.warm_cpu:.2f} ({ratio(theirs.warm_cpu, ours.warm_cpu):.1f}x warm, "
        f"{ratio(theirs.cold, ours.cold):.1f}x cold, reach 5x); of {len(truth)} pairs above {SETTINGS.threshold} found "
        f"{recall['longloom']:.3f} and {recall['datasketch']:.3f}, of those named {precision['longloom']:.3f} and "
        f"{precision['datasketch']:.3f} are",
    )
