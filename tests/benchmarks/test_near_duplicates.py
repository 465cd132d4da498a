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


def corpus(megabytes: float) -> list[str]:
    """Unique texts; every tenth comes again with a share of its words changed, from hardly to half of them."""
    texts = documents(megabytes, seed=4, median_words=700)
    rng = np.random.default_rng(5)
    copies = []
    for text in texts[::10]:
        words = text.split(" ")
        changed = rng.random(len(words)) < rng.choice([0.002, 0.01, 0.02, 0.05, 0.2])
        copies.append(" ".join(f"{word}x" if new else word for word, new in zip(words, changed, strict=True)))
    return texts + copies


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


def alike(texts: list[str]) -> Pairs:
    """Pairs of text and changed copy whose shingles' Jaccard resemblance is above the threshold: the truth."""
    originals = -(-len(texts) * 10 // 11)
    while len(range(0, originals, 10)) + originals > len(texts):
        originals -= 1
    found = set()
    for copy, original in enumerate(range(0, originals, 10)):
        a, b = shingles(texts[original]), shingles(texts[originals + copy])
        if len(a & b) / len(a | b) >= SETTINGS.threshold:
            found.add((original, originals + copy))
    return found


def test_near_duplicates() -> None:
    texts = corpus(scaled(40_000) / 1e3)
    megabytes = sum(map(len, texts)) / 1e6
    found = interleaved({"datasketch": lambda: by_datasketch(texts), "longloom": lambda: by_longloom(texts)}, rounds=2)
    truth = alike(texts)
    recall = {name: len(timed.result & truth) / len(truth) for name, timed in found.items()}
    precision = {name: len(timed.result & truth) / max(len(timed.result), 1) for name, timed in found.items()}
    # Both estimate the same resemblance with the same number of hashes; pairs at the threshold fall either way.
    assert abs(recall["longloom"] - recall["datasketch"]) < 0.1 + 1 / len(truth) ** 0.5
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
