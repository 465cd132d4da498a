"""Counts tokens exactly and fast with the tokenizer that settings name.

It counts ordinary text: what looks like a special token is text, and none is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from udfs.arrow import arrow_function
from udfs.settings import TokenizerSettings
from udfs.tokens.ladder import counter
from udfs.tokens.vocabulary import TokenizerUnavailable, Vocabulary, find_vocabulary

if TYPE_CHECKING:
    from pyspark.sql.udf import UserDefinedFunction

__all__ = [
    "TokenizerUnavailable",
    "Vocabulary",
    "count_tokens",
    "find_vocabulary",
    "token_count",
    "tokenizer_identity",
]


def count_tokens(texts: Sequence[str], settings: TokenizerSettings) -> list[int]:
    """Tokens of each text. Raises TokenizerUnavailable when the named tokenizer cannot be had."""
    return counter(settings).count(texts)


def tokenizer_identity(settings: TokenizerSettings) -> str:
    """Name and content hash of the vocabulary: part of the recipe of every row that counts.

    The engine is not part of it, because every engine that is used counts alike.
    """
    vocabulary = find_vocabulary(settings)
    return f"{vocabulary.name}:{vocabulary.sha256[:16]}"


def token_count(settings: TokenizerSettings) -> UserDefinedFunction:
    """Spark function string → int; null for null. The engine is loaded once per Python worker."""

    def count(texts: pa.Array) -> pa.Array:
        values = texts.to_pylist()
        counts = iter(count_tokens([text for text in values if text is not None], settings))
        return pa.array([None if text is None else next(counts) for text in values], pa.int32())

    return arrow_function(count, "int")
