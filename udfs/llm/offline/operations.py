"""What an extractive answer can do with a document: the operations, and the cues that find their sentences.

An operation says which sentences to look for and how to group them; it selects nothing itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from udfs.llm.offline.vocabulary import load

Mode = Literal["coverage", "topic", "groups", "terms", "names", "contrast", "parts", "code"]


@dataclass(frozen=True)
class Operation:
    """One way of answering by extraction.

    `mode` says how points are formed: over the whole text, about one topic, in fixed groups, one for each key
    term, name or part of the text, or as a contrast of two topics. A sentence with a `cue` is preferred; with
    `strict` only such sentences are taken, where there are enough. `lead` are lines that announce the points.
    """

    name: str
    mode: Mode
    cue: re.Pattern[str] | None
    weight: float
    strict: bool
    groups: tuple[tuple[str, re.Pattern[str]], ...]
    leads: tuple[str, ...]
    suits: frozenset[str]  # genres it makes sense for; empty for all

    @property
    def fits_one_sentence(self) -> bool:
        """Whether a single sentence can be an answer at all."""
        return self.name in {"question", "summary", "reasons", "arguments"}


def _pattern(pattern: str) -> re.Pattern[str]:
    """Case-blind."""
    return re.compile(pattern, re.IGNORECASE)


OPERATIONS: dict[str, Operation] = {
    name: Operation(
        name=name,
        mode=entry["mode"],
        cue=_pattern(entry["cue"]) if entry["cue"] else None,
        weight=entry["weight"],
        strict=entry["strict"],
        groups=tuple((heading, _pattern(cue)) for heading, cue in entry["groups"].items()),
        leads=tuple(entry["leads"]),
        suits=frozenset(entry["suits"]),
    )
    for name, entry in load("operations").items()
}
FALLBACK = OPERATIONS["summary"]

_MONTH = "january|february|march|april|may|june|july|august|september|october|november|december"
_YEAR = r"(?:1[5-9]\d\d|20[0-4]\d)"
DATE = re.compile(
    rf"(?:\b\d{{1,2}} )?\b(?:{_MONTH}) (?:\d{{1,2}}(?:st|nd|rd|th)?,? )?{_YEAR}\b|\b{_YEAR}(?:[-–/]\d{{2,4}})?\b",
    re.IGNORECASE,
)
