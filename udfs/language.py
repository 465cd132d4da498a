"""Tells the language of a text from its beginning, and brings names of languages to ISO codes.

It answers with codes only and knows nothing of which languages are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from udfs.arrow import arrow_function
from udfs.language_names import read_names

if TYPE_CHECKING:
    from pyspark.sql.udf import UserDefinedFunction

UNKNOWN = "und"  # ISO 639-2: undetermined
PREFIX_CHARS = 4_000  # from there on the verdict no longer changes
NAMELESS = frozenset({"", "unknown", "und", "undetermined", "zxx", "un", "none", "null", "mul", "mis"})
LETTER = re.compile(r"[^\W\d_]")
CODE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{2,8})*")


def normalise(name: str) -> str:
    """An English name, ISO 639 code or locale as a code: "English" → "en", "pt-BR" → "pt", "Unknown" → "und".

    A name that is in no table comes back in lower case, so that equal names stay equal.
    """
    lowered = " ".join(name.strip().lower().split())
    if lowered in NAMELESS:
        return UNKNOWN
    if lowered in names():
        return names()[lowered]
    locale = CODE.fullmatch(lowered)
    return names().get(locale[1], locale[1]) if locale else lowered


@lru_cache(maxsize=1)
def names() -> dict[str, str]:
    return read_names()


def detect(texts: Sequence[str | None]) -> list[str]:
    """The ISO code of each text's language, judged by its first 4,000 characters; "und" without letters.

    The same text gives the same code in every process: the model is a fixed table (py3langid, naive Bayes).
    """
    return [detect_one(text) for text in texts]


def detect_one(text: str | None) -> str:
    prefix = (text or "")[:PREFIX_CHARS]
    if not LETTER.search(prefix):
        return UNKNOWN
    code: str = identifier().classify(prefix)[0]
    return normalise(code)


@lru_cache(maxsize=1)
def identifier() -> Any:
    """The model, loaded once per process (a second)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


def language() -> UserDefinedFunction:
    """Spark function string → string, `detect` on a column; null for null."""

    def codes(texts: pa.Array) -> pa.Array:
        found = [None if text is None else detect_one(text) for text in texts.to_pylist()]
        return pa.array(found, pa.string())

    return arrow_function(codes, "string")
