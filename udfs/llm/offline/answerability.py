"""Whether a request can be answered with its documents, and without them: by the words that they share.

A rule of thumb that understands nothing; it errs where a request says in other words what stands in a document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from udfs.llm.offline.words import common_words, content_stems, generic_stems, stem

_SHOWN = 5  # words of the request that the reason names
_POINTS = re.compile(
    r"(?i)\b(?:documents?|texts?|passages?|articles?|reports?|papers?|transcripts?|files?|attached|above)\b"
)


def answerability(documents: Sequence[Mapping[str, str]], instruction: str) -> dict[str, Any]:
    """The reply of the answerability task.

    With: each document holds a word that the request is about, or has text and the request points at documents.
    Without: no document holds one, and it points at none.
    """
    about = _subjects(instruction)
    held = [frozenset(about) & frozenset(content_stems(document["text"])) for document in documents]
    points = bool(_POINTS.search(instruction))
    fits = [
        bool(words) or (points and bool(document["text"].strip()))
        for words, document in zip(held, documents, strict=True)
    ]
    found = [word for word in about if any(word in words for words in held)]
    named = f" ({', '.join(found[:_SHOWN])})" if found else ""
    pointing = ", and it points at documents" if points else ""
    return {
        "why": f"By words: of {len(about)} that the request is about, documents hold {len(found)}{named}{pointing}.",
        "with_document": bool(fits) and all(fits),
        "without_document": not found and not points,
    }


def _subjects(instruction: str) -> list[str]:
    """Stems that a request is about: neither function words nor words for kinds of text, each once, in order."""
    common = {stem(word) for word in common_words()} | generic_stems()
    return [word for word in dict.fromkeys(content_stems(instruction)) if word not in common]
