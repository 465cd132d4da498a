"""The tasks people ask for: how each is recognised, what it becomes over several documents, how it is put.

It is the vocabulary behind the graph's task nodes; it extracts nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from udfs.llm.offline.vocabulary import load
from udfs.llm.offline.words import common_words, stem, tokens

_WIDESPREAD = 3  # tasks that share an intention that goes with any
_LIKENESS = 0.5  # share of words a foreign value must have in common with a known one


@dataclass(frozen=True)
class TaskForm:
    """One task: its value for single documents, `multi` for several, and sentences that ask for it."""

    value: str
    multi: str
    patterns: tuple[re.Pattern[str], ...]
    operation: str
    intentions: tuple[str, ...]
    single_core: tuple[str, ...]
    multi_core: tuple[str, ...]


@cache
def task_forms() -> dict[str, TaskForm]:
    """All tasks by value, the more specific ones first; the last one fits everything."""
    return {
        value: TaskForm(
            value=value,
            multi=entry["multi"],
            patterns=tuple(re.compile(pattern, re.MULTILINE) for pattern in entry["patterns"]),
            operation=entry["operation"],
            intentions=tuple(entry["intentions"]),
            single_core=tuple(entry["single_core"]),
            multi_core=tuple(entry["multi_core"]),
        )
        for value, entry in load("tasks").items()
    }


def tasks_in(request: str) -> list[TaskForm]:
    """The tasks whose patterns the request shows, most specific first; never empty."""
    found = [task for task in task_forms().values() if any(pattern.search(request) for pattern in task.patterns)]
    return found[:-1] or [list(task_forms().values())[-1]]


def task_of(value: str) -> TaskForm | None:
    """The task a value stands for, single or rewritten, whatever its punctuation; the likest for other values.

    None when no known task shares enough words with it.
    """
    wanted = _key(value)
    by_key = _by_key()
    if wanted in by_key:
        return by_key[wanted]
    words = _content(value)
    best, best_share = None, _LIKENESS
    for task in task_forms().values():
        for known in (_content(task.value), _content(task.multi)):
            share = len(words & known) / (len(words | known) or 1)
            if share > best_share:
                best, best_share = task, share
    if best is None:
        found = tasks_in(value)
        return found[0] if found[0].value not in _CATCH_ALL else None
    return best


_CATCH_ALL = frozenset({"work with the document", "answer questions about the document", "extract specific facts"})


@cache
def _by_key() -> dict[str, TaskForm]:
    """Tasks by the words of either of their values."""
    return {_key(value): task for task in task_forms().values() for value in (task.value, task.multi)}


def _key(value: str) -> str:
    """A value's words alone."""
    return " ".join(re.findall(r"\w+", value.lower()))


def _content(value: str) -> frozenset[str]:
    """Stems of a value's telling words."""
    return frozenset(stem(token) for token in tokens(value) if token not in common_words() or len(token) > 5)


def purpose_fits(purpose: str, task: TaskForm) -> bool:
    """Whether an intention goes with a task: it is one of the task's, or one that many tasks share, or foreign."""
    owners = [known for known in task_forms().values() if purpose in known.intentions]
    return not owners or task in owners or len(owners) >= _WIDESPREAD


@dataclass(frozen=True)
class Wording:
    """A core sentence found in a draft: its task, its place, and the reference to the documents inside it."""

    task: TaskForm
    start: int
    end: int
    reference: str


def wording_in(draft: str) -> Wording | None:
    """The core sentence of ours that a draft is built on; None for a draft in other words."""
    for pattern, value in _wordings():
        found = pattern.search(draft)
        if found is not None:
            return Wording(task_forms()[value], found.start(), found.end(), found.group(1))
    return None


def task_of_draft(draft: str) -> TaskForm:
    """The task behind an instruction: the one whose wording it uses, else what its words ask for."""
    wording = wording_in(draft)
    return wording.task if wording is not None else tasks_in(draft)[0]


@cache
def _wordings() -> tuple[tuple[re.Pattern[str], str], ...]:
    """A pattern for every core sentence, with its task; the reference to the documents may be anything short."""
    found = []
    for task in task_forms().values():
        for core in (*task.single_core, *task.multi_core):
            before, after = (re.escape(part) for part in re.split(r"\{docs?\}", core, maxsplit=1))
            found.append((re.compile(f"{before}(.{{3,80}}?){after}(?![^\\W_])", re.IGNORECASE), task.value))
    return tuple(found)
