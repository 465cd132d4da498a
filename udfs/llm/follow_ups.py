"""Calls that follow an answered one: a task of their own, on the same document, asked with what the first reply says.

It makes requests and no call; whether a follow-up is wanted is the stage's to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from udfs.llm.parse import parse_reply
from udfs.llm.requests import REQUEST_SCHEMA, Batches, build_request, request_row
from udfs.llm.schemas import AnswerReply
from udfs.llm.teacher import Request
from udfs.llm.text import canonical_json


def follow_up(request: Request, text: str, task: str) -> Request | None:
    """The call of `task` that follows `request` with this reply; None where the reply leaves nothing to ask.

    Raises KeyError for a pair of tasks of which the one never follows the other.
    """
    variables = _VARIABLES[request.task, task](request.variables, text)
    if variables is None:
        return None
    return build_request(task, variables, request.parameters, request.document)


def build_follow_ups(first: str, task: str) -> Callable[[Batches], Batches]:
    """A function for `DataFrame.mapInArrow`: (input_id, document, variables, parameters, text) of answered calls of
    the task `first` to REQUEST_DDL rows of those that follow."""
    _VARIABLES[first, task]  # an unknown pair fails on the driver

    def run(batches: Batches) -> Batches:
        for batch in batches:
            rows = []
            for told in batch.to_pylist():
                variables = _VARIABLES[first, task](json.loads(told["variables"]), told["text"])
                if variables is not None:
                    made = build_request(task, variables, json.loads(told["parameters"]), told["document"])
                    rows.append(request_row(made, told["input_id"], canonical_json(dict(variables))))
            yield pa.RecordBatch.from_pylist(rows, schema=REQUEST_SCHEMA)

    return run


def _answerability(variables: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """Of the request as the answer worded it; none where there is no answer."""
    reply = parse_reply(text, "answer").value
    if not isinstance(reply, AnswerReply) or not reply.answerable:
        return None
    return {"documents": variables["documents"], "instruction": reply.instruction.strip()}


_VARIABLES: dict[tuple[str, str], Callable[[Mapping[str, Any], str], dict[str, Any] | None]] = {
    ("answer", "answerability"): _answerability,
}
