"""Choices that look varied and are always the same: every pick depends on a hash of what it is for.

It knows no text; nothing here depends on time, process, dict order or PYTHONHASHSEED.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_SEPARATOR = "\x1f"


def stable_number(*key: str) -> int:
    """A 64-bit number that depends on the strings of `key` alone."""
    digest = hashlib.blake2b(_SEPARATOR.join(key).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def pick(options: Sequence[T], *key: str) -> T:
    """One of the options; IndexError when there is none."""
    return options[stable_number(*key) % len(options)]


def chance(share: float, *key: str) -> bool:
    """True for about `share` of all keys."""
    return stable_number("chance", *key) / 2**64 < share


def shuffled(options: Sequence[T], *key: str) -> list[T]:
    """All options in an order that depends on the key."""
    return [options[index] for index in sorted(range(len(options)), key=lambda index: stable_number(str(index), *key))]
