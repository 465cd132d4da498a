"""Turns a task or an instruction for one document into one that needs several.

Known tasks have their rewritten form in the vocabulary; other wordings are changed by rule.
"""

from __future__ import annotations

import re

from udfs.llm.offline.choice import pick
from udfs.llm.offline.genres import genre_named, genres
from udfs.llm.offline.task_forms import task_forms, task_of

_ALREADY = re.compile(
    r"(?i)\b(?:several|both|two|multiple|each of the|across) (?:\w+ )?(?:documents|texts|papers|reports|articles)\b"
)
_REFERENCE = r"\b(?:this|the|that|my) ((?:(?!(?:this|the|that|my|of|in|for|to|and|or|a|an) )\w+ )?){noun}\b(?!s)"
_PLAIN_NOUNS = (
    "document",
    "text",
    "article",
    "paper",
    "report",
    "story",
    "passage",
    "file",
    "book",
    "chapter",
    "essay",
    "contract",
    "agreement",
    "transcript",
    "meeting",
    "scene",
    "code",
    "script",
    "patent",
    "email",
    "letter",
    "discussion",
    "lecture",
    "section",
)
_IRREGULAR = {"code": "code files", "story": "stories", "essay": "essays"}
_TASK_TAILS = (
    " across several documents and compare the results",
    " in several documents and bring the results together",
)
_QUESTION_LEADS = (
    "Compare the documents on this question: {text}",
    "Going by all the documents taken together: {text} Say where they differ.",
    "How do the documents answer this, each on its own and taken together: {text}",
)
_IMPERATIVE_TAILS = (
    " Draw on all the documents and compare what each of them contributes.",
    " Bring together what the documents say and point out where they differ.",
    " Do this across all the documents, so that common ground and differences become visible.",
)
_QUESTION = re.compile(r"[?？]\s*$")


def rewritten(document_type: str, field: str, value: str) -> str:
    """The value for several documents of a type; `field` is "tasks" or "simplified_instruction".

    A value that already speaks of several documents comes back with its wording kept.
    """
    text = " ".join(value.split())
    return _task(text) if field == "tasks" else _instruction(document_type, text)


def _task(value: str) -> str:
    """A short verb phrase that needs several documents."""
    known = task_of(value)
    if known is not None and value.lower().strip(" .") in {known.value, known.multi}:
        return known.multi
    if _ALREADY.search(value):
        return value
    plural = _pluralised(value, ())
    if known is not None and plural == value and len(value.split()) > 8:
        return known.multi
    base = plural.rstrip(" .!?") or next(reversed(task_forms().values())).value
    tail = pick(_TASK_TAILS, "task", value)
    if plural != value:
        tail = " and compare them" if not base.startswith("compare") else ""
    return base + tail


def _instruction(document_type: str, value: str) -> str:
    """A request that needs several documents, in one or two sentences."""
    if _ALREADY.search(value):
        return value
    genre = genre_named(document_type)
    plural = _pluralised(value, (genre.noun,) if genre else ())
    plural = plural if plural[-1:] in ".?!。？！" else plural + "."
    if _QUESTION.search(plural):
        lead = pick(_QUESTION_LEADS, "question", value)
        return lead.format(text=plural)
    return plural + pick(_IMPERATIVE_TAILS, "tail", value)


def _pluralised(value: str, nouns: tuple[str, ...]) -> str:
    """The value with every reference to the one document turned into a reference to the documents."""
    for noun in (*nouns, *_PLAIN_NOUNS):
        known = next((genre.plural for genre in genres().values() if genre.noun == noun), "")
        plural = _IRREGULAR.get(noun) or known or f"{noun}s"
        value = re.sub(_REFERENCE.format(noun=re.escape(noun)), rf"the \g<1>{plural}", value, flags=re.IGNORECASE)
    return value
