"""Finds the queries of `sql/analysis`: the question each answers, its parameters, the tables it reads.

A query is plain SQL over tables by their bare names, so that it runs wherever those names mean the tables of a root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import sql


@dataclass(frozen=True)
class Question:
    """One file: `-- the question?`, notes, `-- :parameter default  meaning` lines, then one SELECT."""

    name: str
    question: str
    notes: str
    parameters: Mapping[str, Any]
    text: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Tables, and answers to other questions, that the query reads."""
        return relations(self.text)

    def bound(self, values: Mapping[str, Any]) -> str:
        """The query with `values` in place of its parameters, defaults where none is given.

        Raises KeyError for a value that is no parameter.
        """
        unknown = values.keys() - self.parameters.keys()
        if unknown:
            raise KeyError(*sorted(unknown))
        return sql.bound(self.text, {**self.parameters, **values})


@cache
def questions() -> Mapping[str, Question]:
    """Every question by its file's name, sorted."""
    files = (entry for entry in resources.files("sql").joinpath("analysis").iterdir() if entry.name.endswith(".sql"))
    found = (_parsed(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8")) for entry in files)
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def relations(text: str) -> tuple[str, ...]:
    """Names that stand after FROM or JOIN, without the query's own WITH names; in order of appearance."""
    body = re.sub(r"--.*|'[^'\n]*'", "", text)
    named = {name.lower() for name in re.findall(r"(\w+)\s+AS\s*\(", body, re.IGNORECASE)}
    found = (name.lower() for name in re.findall(r"\b(?:FROM|JOIN)\s+([A-Za-z_]\w*)(?![\w.])", body, re.IGNORECASE))
    return tuple(dict.fromkeys(name for name in found if name not in named))


def _parsed(name: str, content: str) -> Question:
    lines = content.splitlines()
    size = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    head = [line.removeprefix("--").strip() for line in lines[:size]]
    parameters = {}
    for found in (re.match(r":(\w+) (\S+)  \S", line) for line in head):
        if found:
            parameters[found[1]] = value(found[2])
    notes = " ".join(line for line in head[1:] if not line.startswith(":"))
    return Question(name, head[0], notes, parameters, "\n".join(lines[size:]).strip())


def value(text: str) -> Any:
    """A parameter's value as typed: a whole number, a number, or text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
