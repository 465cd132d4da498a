"""Turns the values of a path into clauses that a request can be put together from.

A value it knows has its own wordings; another one goes into a general wording, or is left out when it is no
short phrase. It does not decide which clauses are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from udfs.llm.offline.choice import pick
from udfs.llm.offline.vocabulary import load
from udfs.llm.offline.words import content_stems

_MAX_FOREIGN_WORDS = 9
_MAX_JOINED_WORDS = 3  # a longer profile takes no context behind it
_WORD = re.compile(r"[^\W_]+")
_UNREAD = "no knowledge of the text beforehand"

_PROFILE = ("I am {a} {profile}", "Write for {a} {profile}", "The answer is for {a} {profile}")
_PROFILE_PURPOSE = (
    "As {a} {profile}, I want to {purpose}",
    "I am {a} {profile} and want to {purpose}",
    "I am {a} {profile} who wants to {purpose}",
)
_PROFILE_KNOWLEDGE = ("I am {a} {profile} with {knowledge}", "Write for {a} {profile} with {knowledge}")
_PROFILE_CONTEXT = ("I am {a} {profile} {context}", "I am {a} {profile}, {context}")
_ALL_THREE = (
    "I am {a} {profile} {context} and want to {purpose}",
    "I am {a} {profile} {context}, and I want to {purpose}",
)
_CONTEXT_PURPOSE = ("I am {context} and want to {purpose}", "I am {context} and need to {purpose}")
_CONTEXT = ("I am {context}", "I am {context} at the moment", "I am {context} and need help with it")
_PURPOSE = ("I want to {purpose}", "I need to {purpose}", "My aim is to {purpose}")
_KNOWLEDGE = ("I have {knowledge}", "Assume {knowledge}", "Write for somebody with {knowledge}")
_UNREAD_WORDINGS = ("I have not done the reading myself", "The content is new to me", "I start from zero here")
_CHATBOT = ("Let your {v} guide the selection", "Use your {v} to tell what matters from what does not")
_FORMAT = ("Give the answer as {v}", "Present the result as {v}")
_CONSTRAINT = ("Keep to this condition: {v}", "One condition: {v}")


def situation(profile: str, context: str, purpose: str, knowledge: str, key: str) -> str:
    """One clause on who asks, in what situation and to what end; empty when all are. What does not fit is left out.

    `context` is a gerund phrase and `purpose` a verb phrase; others are ignored.
    """
    profile, context, purpose, knowledge = (_plain(value) for value in (profile, context, purpose, knowledge))
    context = context if context.split(" ")[0].endswith("ing") else ""
    purpose = "" if _same_matter(purpose, context) else purpose.removeprefix("to ")
    knowledge = "" if knowledge == _UNREAD else knowledge.replace("working knowledge", "a working knowledge")
    if profile and context and len(profile.split()) > _MAX_JOINED_WORDS:
        profile = ""
    wordings = {
        (True, True, True): _ALL_THREE,
        (True, True, False): _PROFILE_CONTEXT[:1],
        (True, False, True): _PROFILE_PURPOSE,
        (True, False, False): _PROFILE_KNOWLEDGE if knowledge else _PROFILE,
        (False, True, True): _CONTEXT_PURPOSE,
        (False, True, False): _CONTEXT,
        (False, False, True): _PURPOSE,
        (False, False, False): _KNOWLEDGE if knowledge else (),
    }[bool(profile), bool(context), bool(purpose)]
    if not wordings:
        return ""
    article = "an" if re.match(r"(?i)[aeiou]", profile) else "a"
    return pick(wordings, "situation", key).format(
        a=article, profile=profile, context=context, purpose=purpose, knowledge=knowledge
    )


def unread(knowledge: str, key: str) -> str:
    """A clause for a user who has not read the text; empty for other knowledge."""
    return pick(_UNREAD_WORDINGS, "unread", key) if _plain(knowledge) == _UNREAD else ""


def chatbot(value: str, key: str) -> str:
    """A clause that appeals to what the answerer knows; empty when the value is no such noun."""
    noun = value.split(" ")[0] in {"knowledge", "understanding", "experience", "familiarity", "broad"}
    return pick(_CHATBOT, "chatbot", key).format(v=_plain(value)) if noun and _plain(value) else ""


def ability(value: str, key: str) -> str:
    """A clause on how the long text is to be read; empty for a foreign value."""
    return _known("long_context_capability", value, key)


def mood(value: str, key: str) -> str:
    """A clause that shows a sentiment; empty for a foreign value."""
    return _known("sentiment", value, key)


def layout(value: str, key: str) -> str:
    """A clause that asks for an output format."""
    return _with_details("output_format", value, _FORMAT, key)


def condition(value: str, key: str) -> str:
    """A clause that sets a constraint; empty where extraction could not keep to it."""
    return _with_details("constraint", value, _CONSTRAINT, key)


def entry(field: str, value: str) -> Mapping[str, Any]:
    """What the vocabulary holds on a value of output_format or constraint; empty for a foreign one."""
    found = _lookup(field, value)
    return found if isinstance(found, dict) else {}


def register(value: str) -> str:
    """How a language style shows in the wording of a request; "direct" for foreign ones."""
    return str(_lookup("language_style", value) or "direct")


def _known(field: str, value: str, key: str) -> str:
    """A wording of a known value, or nothing."""
    options = _lookup(field, value)
    return pick(options, field, key) if isinstance(options, list) and options else ""


def _with_details(field: str, value: str, general: tuple[str, ...], key: str) -> str:
    """A known value's own wording, else a general one for a short foreign value."""
    known = entry(field, value)
    if known:
        return pick(known["clauses"], field, key) if known["clauses"] else ""
    phrase = _plain(value)
    return pick(general, field, key).format(v=phrase) if phrase else ""


def _lookup(field: str, value: str) -> Any:
    """The vocabulary's entry for a value, whatever its case and punctuation; None when there is none."""
    wanted = _words(value)
    return next((found for known, found in load("fields")[field].items() if _words(known) == wanted), None)


def _plain(value: str) -> str:
    """The value on one line without its stop; empty when it is no short phrase."""
    phrase = " ".join(value.split()).strip(" .")
    return phrase if len(phrase.split()) <= _MAX_FOREIGN_WORDS else ""


def _same_matter(purpose: str, context: str) -> bool:
    """Whether purpose and context say the same ("settle a question", "settling a question")."""
    first, second = set(content_stems(purpose)), set(content_stems(context))
    return bool(first) and len(first & second) >= max(1, len(first) - 1) and len(first) > 1


def _words(value: str) -> str:
    """A value's words alone, for comparison."""
    return " ".join(_WORD.findall(value.lower()))
