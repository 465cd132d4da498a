"""Unique texts in any amount: words in the frequencies of prose that ships with Python, and what prose is not.

Nothing is repeated but words: every text is drawn anew, so a cache of whole texts or long stretches finds nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np

WORD = re.compile(r"\S+")
FIELDS = 11  # of a graph
RARE = 0.02  # share of words that occur in no other text: names, numbers, identifiers


@cache
def vocabulary() -> tuple[np.ndarray, np.ndarray]:
    """Words of the language reference with their punctuation, and how often each stands there."""
    from pydoc_data.topics import topics

    counted = Counter(word for text in topics.values() for word in WORD.findall(text))
    words = sorted(counted)
    counts = np.array([counted[word] for word in words], dtype=np.float64)
    return np.array(words, dtype=object), counts / counts.sum()


def prose(words: int, rng: np.random.Generator) -> str:
    """A text of about so many words, in lines and paragraphs."""
    known, share = vocabulary()
    drawn = known[rng.choice(len(known), size=words, p=share)]
    rare = np.flatnonzero(rng.random(words) < RARE)
    for place, number in zip(rare, rng.integers(0, 1 << 40, len(rare)), strict=True):
        drawn[place] = made_up(int(number))
    lines = [" ".join(drawn[start : start + 14]) for start in range(0, words, 14)]
    return "\n".join(f"{line}\n" if index % 6 == 5 else line for index, line in enumerate(lines))


def made_up(number: int) -> str:
    """A word that hardly occurs twice: digits, an identifier or a name out of syllables."""
    kind, number = number % 3, number // 3
    if kind == 0:
        return str(number % 10**9)
    syllables = ("ka", "lo", "mi", "ter", "ven", "su", "ra", "dor", "ip", "nel", "qua", "zu", "bri", "tho", "ess", "ar")
    parts = [syllables[(number >> shift) & 15] for shift in range(0, 16, 4)]
    return "_".join(parts[:3]) if kind == 1 else "".join(parts).capitalize()


def documents(megabytes: float, seed: int = 0, median_words: int = 1_500) -> list[str]:
    """Texts of log-normal length, `megabytes` in all."""
    return list(stream(megabytes, seed, median_words))


def stream(megabytes: float, seed: int = 0, median_words: int = 1_500) -> Iterator[str]:
    """`documents`, one at a time."""
    rng = np.random.default_rng(seed)
    left = megabytes * 1e6
    while left > 0:
        text = prose(int(np.clip(rng.lognormal(np.log(median_words), 0.9), 20, 40 * median_words)), rng)
        left -= len(text)
        yield text


def odd_documents(count: int, seed: int = 0) -> list[str]:
    """What prose is not: scripts without spaces, code, long runs, emoji, special tokens spelled out."""
    rng = np.random.default_rng(seed)
    return [_odd(index % 5, rng) for index in range(count)]


def _odd(kind: int, rng: np.random.Generator) -> str:
    size = int(rng.integers(200, 4_000))
    if kind == 0:
        return "".join(map(chr, rng.integers(0x4E00, 0x9FA5, size)))
    if kind == 1:
        names = [made_up(int(n)) for n in rng.integers(0, 1 << 40, 40)]
        rows = [
            f"    {names[i % 40]}[{j}] = {names[j % 40]}({i}, '{names[(i + j) % 40]}')  # {j:x}"
            for i, j in rng.integers(0, 1 << 16, (size // 30, 2))
        ]
        return "def run():\n" + "\n".join(rows)
    if kind == 2:
        runs = rng.integers(1, 400, size // 60)
        marks = " -=\n\t.ae0語"
        return "".join(marks[int(rng.integers(len(marks)))] * int(run) for run in runs)
    if kind == 3:
        return " ".join(chr(int(c)) + prose(6, rng) for c in rng.integers(0x1F300, 0x1F64F, size // 40))
    return f"<|endoftext|>{prose(size // 10, rng)}<|im_start|>user{prose(40, rng)}[INST]</s>"


def held_values(conversations: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(conversation, field, value) of about 17 values per conversation over eleven fields, values numbered per field.

    Half of the values are said once, the others follow a power law: the number of distinct values keeps growing with
    the conversations, as free-form values do (Heaps' law), and a few are hubs.
    """
    rng = np.random.default_rng(seed)
    per_field = rng.choice([1, 2], size=(conversations, FIELDS), p=[5 / 11, 6 / 11])
    conversation = np.repeat(np.arange(conversations, dtype=np.int64), per_field.sum(axis=1))
    field = np.repeat(np.tile(np.arange(FIELDS, dtype=np.int64), conversations), per_field.ravel())
    popular = (rng.pareto(0.6, len(field)) * 20).astype(np.int64) % max(conversations // 10, 4)
    once = conversations + np.arange(len(field), dtype=np.int64)
    return conversation, field, np.where(rng.random(len(field)) < 0.5, once, popular)
