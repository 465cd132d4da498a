"""Fills the thirteen fields of a conversation from its request, its pasted text and its reply.

Values come from closed vocabularies or from counts, so that conversations share them and graphs connect;
nothing here answers the conversation or copies names out of it.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from udfs.llm.offline.asking import Asking, part_message
from udfs.llm.offline.choice import chance, pick
from udfs.llm.offline.genres import FALLBACK, Genre, genre_scores, genres, named_scores
from udfs.llm.offline.reply_form import length_constraint, output_formats
from udfs.llm.offline.request_form import asked_tasks, constraints, language_styles, sentiments
from udfs.llm.offline.simplify import simplified, without_references
from udfs.llm.offline.task_forms import TaskForm
from udfs.llm.offline.vocabulary import load
from udfs.llm.offline.words import stem, stop_words, tokens

_PASTED_CHARS = 2_500  # with less pasted text the message itself is the text
_CLEAR_SCORE = 1.2
_LONG_CHARS, _CERTAIN_SCORE = 10_000, 6.0  # a shorter message is a text only when its genre is certain
_SAMPLE_CHARS = 30_000
_DOMAIN_SHARE = 0.012  # of the content words, for a domain to be named
_MANY_TASKS = 3
_WITH_SUBJECT = 0.25  # of the document types name a subject area too


def meta(user: str, assistant: str) -> dict[str, object]:
    """The reply of the meta task: thirteen fields, each list without repeats and never empty."""
    asking = part_message(user)
    genre = conversation_genre(user, asking)
    key = f"{user[:2_000]}\x1f{assistant[:500]}"
    request = without_references(asking.request) or user[:1_500]
    tasks = asked_tasks(request, genre.name)[:_MANY_TASKS]
    domains = domains_of(asking.pasted or user)
    return {
        "document_type": _document_type(genre, domains, key),
        "tasks": [task.value for task in tasks],
        "user_intention": _distinct(pick(task.intentions, "intention", key, task.value) for task in tasks[:2]),
        "user_profile": [genre.profiles[0], *_second(genre.profiles, "profile", key)],
        "language_style": language_styles(request, user),
        "context": [pick(genre.contexts, "context", key)],
        "user_knowledge": _user_knowledge(request, domains, key),
        "chatbot_knowledge": [pick(genre.chatbot, "chatbot", key)],
        "long_context_capability": _capabilities(genre, tasks, key),
        "output_format": output_formats(assistant, tasks[0].value),
        "sentiment": sentiments(request),
        "constraint": _distinct((*constraints(request, assistant), length_constraint(assistant)))[:3],
        "simplified_instruction": simplified(asking, tasks[0], genre),
    }


def conversation_genre(user: str, asking: Asking) -> Genre:
    """Genre of the pasted text; of the message itself where little or nothing was pasted."""
    known = genres()
    if len(asking.pasted) >= _PASTED_CHARS and len(asking.pasted) > 0.6 * len(user):
        scores = named_scores(asking.pasted, asking.request)
        best = max(scores, key=lambda name: scores[name])
        if len(user) > _LONG_CHARS or best == "source code" or scores[best] >= _CERTAIN_SCORE:
            return known[best]
    scores = genre_scores(user)
    requests = {name: score for name, score in scores.items() if known[name].is_request or name == "source code"}
    best = max(requests, key=lambda name: requests[name])
    if requests[best] >= _CLEAR_SCORE:
        return known[best]
    return known["prompt specification"]


def domains_of(text: str) -> list[str]:
    """At most two subject areas that the text's words belong to, the stronger first; may be empty."""
    stop = stop_words()
    words = [stem(token) for token in tokens(text[:_SAMPLE_CHARS]) if token not in stop]
    counts = Counter(words)
    shares = {
        domain: sum(min(counts[word], 1 + len(words) // 150) for word in vocabulary) / max(40, len(words))
        for domain, vocabulary in _domain_words().items()
    }
    ranked = sorted(shares, key=lambda domain: -shares[domain])
    return [domain for domain in ranked[:2] if shares[domain] >= _DOMAIN_SHARE]


@cache
def _domain_words() -> dict[str, frozenset[str]]:
    """Stems of each subject area."""
    return {
        domain: frozenset(stem(word) for word in words.split()) for domain, words in load("fields")["domains"].items()
    }


def _document_type(genre: Genre, domains: list[str], key: str) -> str:
    """The genre in one of its wordings, now and then with its subject area."""
    wording = pick(genre.variants, "type", key)
    if genre.name == FALLBACK and domains:
        return f"{wording} on {domains[0]}"
    implied = bool(domains) and not genre.words.isdisjoint(stem(token) for token in tokens(domains[0]))
    if domains and not implied and not genre.is_request and chance(_WITH_SUBJECT, "subject", key):
        return f"{genre.name} on {domains[0]}"
    return wording


def _user_knowledge(request: str, domains: list[str], key: str) -> list[str]:
    """What the request lets one assume the user knows of the subject areas."""
    technical = bool(re.search(r"\b[A-Z]{2,}\b|[\"“”`]|\w_\w|\w\(\)|\d", request))
    level = "working knowledge of" if technical else pick(("basic knowledge of", "little background in"), "level", key)
    return [f"{level} {domain}" for domain in domains[:1]] + ["no knowledge of the text beforehand"] * (
        not domains or chance(0.3, "unread", key)
    )


def _capabilities(genre: Genre, tasks: list[TaskForm], key: str) -> list[str]:
    """The abilities on long text that genre and operation call for."""
    by_operation = load("fields")["capabilities"]
    found = [pick(genre.capabilities, "capability", key)]
    if tasks[0].operation in by_operation:
        found.append(pick(by_operation[tasks[0].operation], "ability", key))
    return _distinct(found)


def _second(options: tuple[str, ...], name: str, key: str) -> list[str]:
    """Another of the options, for about two thirds of the keys."""
    return [pick(options[1:], name, key)] if len(options) > 1 and chance(0.66, name, key) else []


def _distinct(values: object) -> list[str]:
    """Values without repeats, in order."""
    return list(dict.fromkeys(values))  # type: ignore[call-overload]
