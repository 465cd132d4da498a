"""Changes a draft that does not suit the documents it was paired with.

Pairing goes by type, and types are coarse: a draft about provisions may meet a novel. What is asked is then
replaced by something the documents can answer; a draft in other words than ours is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from udfs.llm.offline.choice import pick
from udfs.llm.offline.genres import Genre
from udfs.llm.offline.operations import OPERATIONS
from udfs.llm.offline.phrasing import NO_IMPERATIVE
from udfs.llm.offline.task_forms import TaskForm, Wording, task_forms, wording_in
from udfs.llm.offline.vocabulary import load

_SUMMARY = "summarize the document"
_SENTENCE_SEAM = re.compile(r"(?<=[.?!])\s+")
_PERSONAL = re.compile(
    r"(?:I am|As an?|Write for|The answer is for|My aim|I want to|I need to|I have|Assume|Let your|Use your)\b"
)


@dataclass(frozen=True)
class Refit:
    """The draft as it suits the documents, and the task it now asks for."""

    draft: str
    task: TaskForm


def refit(draft: str, task: TaskForm, kind: Genre | None, own: Sequence[Genre | None], key: str) -> Refit:
    """The draft for documents whose own genres are `own`, where it was made for the genre `kind`.

    A task that makes no sense for one of them is exchanged, and what the draft says of its user is dropped when
    that was said with another kind of document in mind.
    """
    known = [genre for genre in own if genre is not None]
    wording = wording_in(draft)
    if not known or wording is None:
        return Refit(draft, task)
    suits = all(_suits(task, genre) for genre in known)
    if not suits or any(_strangers(kind, genre) for genre in known):
        draft = _impersonal(draft, wording, known)
        wording = wording_in(draft) or wording
    if suits:
        return Refit(draft, task)
    other = task_forms()[pick(_options(known), "task", key)]
    return Refit(_exchanged(draft, wording, other, several=len(own) > 1, key=key), other)


def _strangers(kind: Genre | None, own: Genre) -> bool:
    """Whether a document is of quite another kind than the draft was made for."""
    return kind is not None and kind.name != own.name and own.name not in kind.near and kind.name not in own.near


def _suits(task: TaskForm, genre: Genre) -> bool:
    """Whether a task makes sense for a genre."""
    suits = OPERATIONS[task.operation].suits
    return not suits or genre.name in suits


def _options(known: Sequence[Genre]) -> list[str]:
    """Tasks that make sense for all genres; a summary always does."""
    own = load("fields")["substitutes"].get(known[0].name, [])
    forms = task_forms()
    return [value for value in [*own, _SUMMARY] if all(_suits(forms[value], genre) for genre in known)]


def _impersonal(draft: str, wording: Wording, known: Sequence[Genre]) -> str:
    """The draft without its sentences on the user, and without reading advice meant for another genre."""
    core = draft[wording.start : wording.end]
    abilities = load("fields")["long_context_capability"]
    fitting = {ability for genre in known for ability in genre.capabilities}
    foreign = {text for ability, texts in abilities.items() if ability not in fitting for text in texts}
    kept = [
        sentence
        for sentence in _SENTENCE_SEAM.split(draft)
        if sentence in core or core in sentence or not (_PERSONAL.match(sentence) or sentence.rstrip(".") in foreign)
    ]
    return " ".join(kept)


def _exchanged(draft: str, wording: Wording, task: TaskForm, *, several: bool, key: str) -> str:
    """The draft with its core sentence replaced by one of another task, behind the same opening words."""
    before, after = draft[: wording.start], draft[wording.end :]
    led = bool(before.strip()) and before.rstrip()[-1] not in ".?!"
    cores = task.multi_core if several else task.single_core
    plain = [core for core in cores if not NO_IMPERATIVE.match(core)]
    core = pick(plain or cores if led else cores, "core", key)
    core = core.replace("{docs}" if several else "{doc}", wording.reference)
    if led:
        core = core[:1].lower() + core[1:]
    elif core.endswith("?"):
        after = after.lstrip(".?")
    elif not after.startswith("."):
        core += "."
    return f"{before}{core}{after}"
