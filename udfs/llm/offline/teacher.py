"""The offline teacher: answers every task from the text it is given, at once and always the same way.

It reads a request's task and variables and never its rendered messages; it knows no network and no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from udfs.llm.offline.answerability import answerability
from udfs.llm.offline.answers import answer as answer_from_documents
from udfs.llm.offline.fields import meta
from udfs.llm.offline.labels import document_label, type_label
from udfs.llm.offline.phrasing import instruction
from udfs.llm.offline.rewrites import rewritten
from udfs.llm.teacher import ErrorKind, Reply, Request, failed

MODEL = "offline-extractive-1"


def answer(task: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The reply of a task as a plain dict in the shape of its reply model.

    Raises KeyError for a task or a variable it does not know.
    """
    return _ANSWERS[task](variables)


class OfflineTeacher:
    """A teacher without a language model (see `udfs.llm.teacher.Teacher`)."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request; whatever goes wrong is a lasting failure of that request alone."""
        try:
            text = json.dumps(answer(request.task, request.variables), ensure_ascii=False)
        except Exception as error:  # a teacher must not raise: one odd text costs one row, not the run
            reason = f"offline teacher, task {request.task!r}: {type(error).__name__}: {error}"
            return failed(ErrorKind.BAD_REQUEST, reason, model=MODEL)
        return Reply(
            status="ok", text=text, model=MODEL, tokens_in=0, tokens_out=0, tokens_cached=0, finish_reason="stop"
        )


def _meta(variables: Mapping[str, Any]) -> dict[str, Any]:
    return meta(variables["user"], variables["assistant"])


def _type_label(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": type_label(variables["examples"], variables["taken"])}


def _document_label(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": document_label(variables["text"], variables["labels"])}


def _task_rewrite(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {"rewritten": rewritten(variables["document_type"], variables["field"], variables["value"])}


def _instruction(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "instruction": instruction(
            variables["setting"],
            variables["document_type"],
            variables["path"],
            variables.get("demo_path") or (),
            variables.get("demo_instruction") or "",
        )
    }


def _answer(variables: Mapping[str, Any]) -> dict[str, Any]:
    return answer_from_documents(
        variables["documents"], variables["document_type"], variables["instruction"], variables["path"]
    )


def _answerability(variables: Mapping[str, Any]) -> dict[str, Any]:
    return answerability(variables["documents"], variables["instruction"])


_ANSWERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "meta": _meta,
    "type_label": _type_label,
    "document_label": _document_label,
    "task_rewrite": _task_rewrite,
    "instruction": _instruction,
    "answer": _answer,
    "answerability": _answerability,
}
