"""MinHash signatures and LSH band keys of texts, for finding near duplicates among many.

It makes signatures of whole Arrow batches with numpy and refuses to know which of two duplicates is kept.
Broder (1997), resemblance = share of equal minima; multiply-shift hashing after Dietzfelbinger et al. (1997).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from udfs.arrow import arrow_function
from udfs.settings import MinhashSettings

if TYPE_CHECKING:
    from pyspark.sql.udf import UserDefinedFunction

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

CHUNK = 4_096  # shingles at a time: permutations x CHUNK x 4 bytes stay in the second-level cache
# Scripts that part no words by spaces: each character is a word of its own.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
EDGES = r"^[^\p{L}\p{N}\p{M}]+|[^\p{L}\p{N}\p{M}]+$"


def signature(settings: MinhashSettings) -> UserDefinedFunction:
    """Spark function string → array<bigint> of `permutations` 32-bit minima; null for a text without words."""

    def signatures(texts: pa.Array) -> pa.Array:
        minima, found = signature_matrix(texts.to_pylist(), settings)
        return as_lists(minima.astype(np.int64), found)

    return arrow_function(signatures, "array<bigint>")


def bands(settings: MinhashSettings) -> UserDefinedFunction:
    """Spark function array<bigint> → array<bigint>: one key per band; equal keys make two texts candidates.

    Raises ValueError when the permutations cannot be parted into that many equal bands.
    """
    rows_per_band(settings)

    def keys(signatures: pa.Array) -> pa.Array:
        found = ~np.asarray(signatures.is_null())
        flat = np.asarray(signatures.flatten()).reshape(-1, settings.permutations)
        every = np.zeros((len(signatures), settings.bands), np.int64)
        every[found] = band_matrix(flat.astype(np.uint64), settings)
        return as_lists(every, found)

    return arrow_function(keys, "array<bigint>")


def rows_per_band(settings: MinhashSettings) -> int:
    """Positions that must all agree for two texts to meet in a band."""
    if settings.permutations % settings.bands:
        raise ValueError(
            f"minhash.permutations ({settings.permutations}) is not a multiple of minhash.bands "
            f"({settings.bands}): choose bands that divide it, for instance 128 and 16."
        )
    return settings.permutations // settings.bands


def signature_matrix(texts: Sequence[str | None], settings: MinhashSettings) -> tuple[U32, npt.NDArray[np.bool_]]:
    """Minima [texts, permutations] and which texts have any word at all."""
    hashes, starts, ends = word_hashes(texts)
    shingles, counts = shingle_hashes(hashes, starts, ends, settings)
    found = counts > 0
    minima = np.full((len(texts), settings.permutations), np.iinfo(np.uint32).max, np.uint32)
    offsets = np.concatenate([[0], np.cumsum(counts[found])])
    minima[found] = row_minima(shingles, offsets, settings)
    return minima, found


def word_hashes(texts: Sequence[str | None]) -> tuple[U64, I64, I64]:
    """64-bit hashes of all words in a row, and where each text's words start and end.

    Words are lower-cased and lose punctuation at their edges. Only distinct words are trimmed and hashed.
    """
    column = pc.utf8_lower(pa.array([spaced(text or "") for text in texts], pa.large_string()))
    split = pc.utf8_split_whitespace(column)
    encoded = split.values.dictionary_encode()
    trimmed = pc.replace_substring_regex(encoded.dictionary, EDGES, "")
    kinds = np.asarray(trimmed.to_numpy(zero_copy_only=False), dtype=object)
    by_kind = np.asarray(pd.util.hash_array(kinds, categorize=False), np.uint64) if len(kinds) else U64_NONE
    kept_kind = np.asarray([bool(kind) for kind in kinds], bool)
    indices = np.asarray(encoded.indices)
    kept = kept_kind[indices] if len(kinds) else np.zeros(0, bool)
    before = np.concatenate([[0], np.cumsum(kept)])  # kept words before each word
    offsets = np.asarray(split.offsets)
    return by_kind[indices[kept]], before[offsets[:-1]], before[offsets[1:]]


U64_NONE: U64 = np.zeros(0, np.uint64)


def spaced(text: str) -> str:
    """The text with spaces around characters of scripts that use none."""
    if text.isascii() or not UNSPACED.search(text):
        return text
    return UNSPACED.sub(r" \g<0> ", text)


def shingle_hashes(hashes: U64, starts: I64, ends: I64, settings: MinhashSettings) -> tuple[U32, I64]:
    """Hashes of all runs of `shingle_words` words, and how many each text has.

    A text of fewer words is one shingle of what it has, a text of none has none.
    """
    width = settings.shingle_words
    words = ends - starts
    counts = np.where(words > 0, np.maximum(words - width + 1, 1), 0)
    before = np.cumsum(counts) - counts
    first = np.arange(int(counts.sum())) + np.repeat(starts - before, counts)
    last = np.repeat(ends, counts)
    factors = constants(settings.seed, width, stream=1) | np.uint64(1)
    mixed = np.zeros(len(first), np.uint64)
    for step in range(width):
        at = first + step
        inside = at < last
        if inside.all():
            mixed += hashes[at] * factors[step]
        else:
            mixed[inside] += hashes[at[inside]] * factors[step]
    return (mix(mixed) >> np.uint64(32)).astype(np.uint32), counts


def row_minima(shingles: U32, offsets: I64, settings: MinhashSettings) -> U32:
    """For every text and permutation the smallest of a·x mod 2³² over its shingles x; no text is empty.

    The factors a are odd, so each permutation is one in the strict sense.
    """
    factors = (constants(settings.seed, settings.permutations, stream=2) >> np.uint64(32)).astype(np.uint32)
    factors |= np.uint32(1)
    minima = np.full((len(offsets) - 1, settings.permutations), np.iinfo(np.uint32).max, np.uint32)
    products = np.empty((settings.permutations, CHUNK), np.uint32)
    for low in range(0, len(shingles), CHUNK):
        high = min(low + CHUNK, len(shingles))
        first = int(np.searchsorted(offsets, low, "right")) - 1
        last = int(np.searchsorted(offsets, high, "left"))
        chunk = products[:, : high - low]
        np.multiply(factors[:, None], shingles[None, low:high], out=chunk)
        starts = np.maximum(offsets[first:last] - low, 0)
        smallest = np.minimum.reduceat(chunk, starts, axis=1).T
        np.minimum(minima[first:last], smallest, out=minima[first:last])
    return minima


def band_matrix(signatures: U64, settings: MinhashSettings) -> I64:
    """Keys [texts, bands]; the band's number is part of its key, so keys of all bands can share a column."""
    rows = rows_per_band(settings)
    factors = constants(settings.seed, rows, stream=3) | np.uint64(1)
    salts = constants(settings.seed, settings.bands, stream=4)
    cut = signatures.reshape(len(signatures), settings.bands, rows)
    return mix(mix(cut * factors).sum(axis=2, dtype=np.uint64) + salts).view(np.int64)


def constants(seed: int, size: int, stream: int) -> U64:
    """Seeded 64-bit constants that no version of any library changes (splitmix64, Steele et al. 2014)."""
    step = np.uint64(0x9E3779B97F4A7C15)
    origin = mix(np.asarray([np.uint64(seed * 1_000_003 + stream)], np.uint64))
    return mix(origin + step * np.arange(1, size + 1, dtype=np.uint64))


def mix(x: U64) -> U64:
    """splitmix64's finaliser: every bit of the result depends on every bit of x."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def as_lists(matrix: npt.NDArray[Any], found: npt.NDArray[np.bool_]) -> pa.Array:
    """Rows as Arrow lists, null where not found."""
    width = matrix.shape[1]
    ends = np.concatenate([[0], np.cumsum(found) * width]).astype(np.int32)
    missing = np.concatenate([~found, [False]])
    offsets = pa.array(ends, mask=missing)
    return pa.ListArray.from_arrays(offsets, pa.array(matrix[found].reshape(-1), pa.int64()))
