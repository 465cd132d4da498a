"""Makes text vectors: unit-length means of a model's last hidden state, the same on any partitioning.

It refuses to know what a vector is used for; which model reads and where it runs is the encoder's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, FloatType

from udfs.models.chunks import token_chunks, windows
from udfs.models.errors import ModelUnavailable
from udfs.models.files import embedder_identity
from udfs.settings import EmbedderSettings

__all__ = ["DECIMALS", "embed", "embed_texts", "embedder_identity"]

DECIMALS = 5  # vectors are rounded before any threshold or fit sees them


def embed_texts(texts: Sequence[str | None], settings: EmbedderSettings, documents: bool = False) -> np.ndarray:
    """Vectors of the texts in their order: float32 [n, d], unit length, rounded to 5 decimals.

    A text is read up to `chunk_tokens` tokens (special tokens counted), a document at `chunks` evenly spaced
    places of that length; a document's vector is the mean of its chunks' means weighted by their tokens.
    (WildLong averages over whole documents: at the defaults 6 times the tokens of a 6k-token document.)
    A text without a token, or None, gets the zero vector. Equal texts are embedded once.
    Raises ModelUnavailable.
    """
    from udfs.models.encoder import load_encoder  # here, so that planning does not import torch

    encoder = load_encoder(settings)
    model = encoder.model
    specials = len(model.prefix) + len(model.suffix)
    size = settings.chunk_tokens - specials
    if size < 1 or settings.chunk_tokens > model.window:
        raise ModelUnavailable(
            settings.name,
            "these settings",
            f"it reads {specials + 1} to {model.window} tokens at a time, embedder.chunk_tokens asks "
            f"{settings.chunk_tokens}",
            "Change embedder.chunk_tokens.",
        )
    distinct = {text: row for row, text in enumerate(dict.fromkeys(text or "" for text in texts))}
    chunks = settings.chunks if documents else 1
    owners, pieces = _pieces(model.tokenise, list(distinct), chunks, size)
    means = encoder.means(pieces, settings.batch_tokens)
    if not np.isfinite(means).all():
        raise ModelUnavailable(
            settings.name,
            "this machine",
            "it gives values that are not finite",
            "Set embedder.dtype to float32.",
        )
    weights = np.array([len(piece) for piece in pieces], dtype=np.float64)
    vectors = _unit(_weighted_sums(means, weights, owners, len(distinct), model.dimensions))
    return vectors[[distinct[text or ""] for text in texts]]


def embed(settings: EmbedderSettings, documents: bool = False) -> Any:
    """Spark column function, string -> array<float>: `embed_texts` on executors, a null as the empty text.

    Not deterministic in Spark's sense, or the optimiser would run the model again for every use.
    """

    def vectors(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        return embed_batches(batches, settings, documents)

    make: Any = pandas_udf  # its overloads do not know a DataType instance as return type
    return make(vectors, ArrayType(FloatType(), containsNull=False)).asNondeterministic()


def embed_batches(batches: Iterator[pd.Series], settings: EmbedderSettings, documents: bool) -> Iterator[pd.Series]:
    """What `embed` runs: here and not inside it, so that workers import this module and keep the model."""
    for batch in batches:
        yield pd.Series(list(embed_texts(batch.tolist(), settings, documents)), dtype=object)


def _pieces(
    tokenise: Callable[[Sequence[str]], list[list[int]]], texts: list[str], chunks: int, size: int
) -> tuple[list[int], list[list[int]]]:
    """All texts' chunks of ids, and for each the row of its text."""
    parts = [windows(text, chunks, size) for text in texts]
    ids = iter(tokenise([part for text_parts in parts for part in text_parts]))
    owners: list[int] = []
    pieces: list[list[int]] = []
    for row, text_parts in enumerate(parts):
        found = token_chunks([next(ids) for _ in text_parts], chunks, size)
        owners.extend([row] * len(found))
        pieces.extend(found)
    return owners, pieces


def _weighted_sums(means: np.ndarray, weights: np.ndarray, owners: list[int], rows: int, dimensions: int) -> np.ndarray:
    """Sum of weight * mean per owner, in chunk order: float64 [rows, dimensions]. The length is set later."""
    sums = np.zeros((rows, dimensions), dtype=np.float64)
    np.add.at(sums, np.array(owners, dtype=np.intp), means.astype(np.float64) * weights[:, None])
    return sums


def _unit(vectors: np.ndarray) -> np.ndarray:
    """float32 rows of length one, rounded; zero rows stay zero and no zero keeps a sign."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded = np.round(vectors / np.where(norms == 0.0, 1.0, norms), DECIMALS)
    return (rounded + 0.0).astype(np.float32)
