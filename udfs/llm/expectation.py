"""What the next call of a stage will come to in tokens, learned from the replies so far.

Servers count with tokenizers of their own, so their own counts are the best measure of a prompt's characters.
"""

from __future__ import annotations

from math import sqrt

FIRST_TOKENS_PER_CHAR = 1 / 3  # more than most tokenizers make of any language with spaces
MEMORY = 200  # replies after which older ones begin to fade


class Expectation:
    """Tokens per character of prompts, and tokens of replies: mean and a standard deviation above it."""

    def __init__(self) -> None:
        self._replies = 0
        self._ratio = FIRST_TOKENS_PER_CHAR
        self._mean = self._variance = 0.0

    def tokens_in(self, chars: int) -> int:
        """Prompt tokens to expect."""
        return int(chars * self._ratio) + 1

    def tokens_out(self, most: int) -> int:
        """Reply tokens to expect of at most `most`; before the first reply that many."""
        if not self._replies:
            return most
        return min(most, int(self._mean + sqrt(self._variance)) + 1)

    def learn(self, chars: int, tokens_in: int | None, tokens_out: int | None) -> None:
        """Take note of what a server metered."""
        if tokens_in is None or tokens_out is None or not chars:
            return
        self._replies += 1
        weight = 1 / min(self._replies, MEMORY)
        self._ratio += weight * (tokens_in / chars - self._ratio)
        delta = tokens_out - self._mean
        self._mean += weight * delta
        self._variance = (1 - weight) * (self._variance + weight * delta * delta)
