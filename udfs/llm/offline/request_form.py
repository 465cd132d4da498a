"""Reads tasks, register, mood and conditions off the words of a request.

It works by signal words in English and a few other languages; a request without any gives the plain values.
"""

from __future__ import annotations

import re
from functools import cache

from udfs.llm.offline.task_forms import TaskForm, task_forms, tasks_in
from udfs.llm.offline.vocabulary import load
from udfs.llm.offline.words import NO_SPACE, tokens

_ALSO_ASKED = frozenset(
    {"answer questions about the document", "extract specific facts", "work with the document", "explain a topic"}
)

_SCRIPTS = re.compile(f"[\u0370-\u06ff\u0900-\u0dff{NO_SPACE}\uac00-\ud7af]")
_VIETNAMESE = re.compile(r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")
_TERSE_WORDS = 9
_DETAILED_WORDS = 120


def asked_tasks(request: str, genre: str) -> list[TaskForm]:
    """The tasks a request asks for, fitted to the genre, most specific first; catch-alls only when alone."""
    forms = task_forms()
    swaps = load("signals")["genre_tasks"].get(genre, {})
    fitted = [forms[swaps.get(task.value, task.value)] for task in tasks_in(request)]
    specific = [task for task in fitted if task.value not in _ALSO_ASKED]
    kept = specific[:2] + [task for task in fitted if task.value in _ALSO_ASKED][: 1 if len(specific) < 2 else 0]
    return list({task.value: task for task in kept or fitted[:1]}.values())


def language_styles(request: str, message: str) -> list[str]:
    """One to three words for the register of a request."""
    found = _shown("styles", request)
    words = len(tokens(request))
    if words >= _DETAILED_WORDS or (len(message) > 1_500 and words > 60):
        found.append("detailed and specific")
    elif words <= _TERSE_WORDS:
        found.append("terse")
    if re.search(r"[?？]", request) or re.match(r"(?i)\W*(?:who|what|when|where|why|how|which)\b", request):
        found.append("inquisitive")
    if _is_foreign(request):
        found.append("non-English")
    return found[:3] or ["direct"]


def sentiments(request: str) -> list[str]:
    """One or two moods; neutral when the words show none."""
    found = _shown("sentiments", request)
    return found[:2] or ["neutral"]


def constraints(request: str, reply: str) -> list[str]:
    """Conditions a request sets, at most three."""
    found = _shown("constraints", request)
    if _is_foreign(request) and not _is_foreign(reply) and "write in another language" not in found:
        found.append("write in another language")
    return found[:3]


def _shown(kind: str, request: str) -> list[str]:
    """The values of a kind whose signals the request shows, in the vocabulary's order."""
    return [value for value, pattern in _signals(kind).items() if pattern.search(request)]


@cache
def _signals(kind: str) -> dict[str, re.Pattern[str]]:
    """The signal patterns of "styles", "sentiments" or "constraints"."""
    return {value: re.compile(pattern) for value, pattern in load("signals")[kind].items()}


def _is_foreign(text: str) -> bool:
    """Whether a text is visibly not English: by script, or by letters."""
    letters = sum(character.isalpha() for character in text) or 1
    return len(_SCRIPTS.findall(text)) > 0.2 * letters or len(_VIETNAMESE.findall(text.lower())) > 0.03 * letters
