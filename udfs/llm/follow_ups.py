"""Calls that follow an answered one on the same document: its second draw, and tasks asked with what it says.

It makes requests and no call; whether a follow-up is wanted at all is the stage's to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from udfs.gates import reason_against
from udfs.llm.parse import parse_reply
from udfs.llm.requests import REQUEST_SCHEMA, Batches, build_request, next_draw, request_row
from udfs.llm.schemas import AnswerReply
from udfs.llm.teacher import Request
from udfs.llm.text import canonical_json
from udfs.settings import EvidenceSettings

REDRAWN = ("no_evidence", "ungrounded", "one_sided")  # why an answer is asked for once more


@dataclass(frozen=True)
class Following:
    """A call behind an answered one, as tasks on executors are told of it.

    `redraws`: the same request with the next seed, where the answer fails the `gates`; the second answer takes the
    place of the first where it passes them. Another task with `gates` is asked only about an answer that passes them.
    """

    task: str
    gates: EvidenceSettings | None = None
    redraws: bool = False

    def behind(self, later: tuple[Following, ...]) -> tuple[Following, ...]:
        """The `later` ones as they follow this call where it is made by itself, its own answer being all they know."""
        return tuple(Following(one.task, self.gates) for one in later) if self.redraws else later


def follow_up(request: Request, text: str, wanted: Following) -> Request | None:
    """The call that follows `request` with this reply; None where the reply leaves nothing to ask.

    Raises KeyError for a pair of tasks of which the one never follows the other.
    """
    return _made(request.task, wanted, request.variables, request.parameters, request.document, text)


def takes_place(request: Request, text: str, made: Following) -> bool:
    """Whether the reply to a follow-up stands in the place of the one that it followed."""
    return made.redraws and made.gates is not None and reason_against(text, request.variables, made.gates) is None


def build_follow_ups(first: str, wanted: Following) -> Callable[[Batches], Batches]:
    """A function for `DataFrame.mapInArrow`: (input_id, document, variables, parameters, text) of answered calls of
    the task `first` to REQUEST_DDL rows of those that follow."""
    _VARIABLES[first, wanted.task]  # an unknown pair fails on the driver

    def run(batches: Batches) -> Batches:
        for batch in batches:
            rows = []
            for told in batch.to_pylist():
                variables, parameters = json.loads(told["variables"]), json.loads(told["parameters"])
                made = _made(first, wanted, variables, parameters, told["document"], told["text"])
                if made is not None:
                    rows.append(request_row(made, told["input_id"], canonical_json(dict(made.variables))))
            yield pa.RecordBatch.from_pylist(rows, schema=REQUEST_SCHEMA)

    return run


def passing(gates: EvidenceSettings) -> Callable[[Batches], Batches]:
    """A function for `DataFrame.mapInArrow`: (input_id, variables, text) of answers, [input_id] of those that pass."""

    def accepts(row: Mapping[str, Any]) -> bool:
        return reason_against(row["text"], json.loads(row["variables"]), gates) is None

    def run(batches: Batches) -> Batches:
        for batch in batches:
            ids = [row["input_id"] for row in batch.to_pylist() if accepts(row)]
            yield pa.RecordBatch.from_pydict({"input_id": pa.array(ids, pa.string())})

    return run


def _made(
    first: str,
    wanted: Following,
    variables: Mapping[str, Any],
    parameters: Mapping[str, Any],
    document: str | None,
    text: str,
) -> Request | None:
    told = _VARIABLES[first, wanted.task](variables, text)
    if told is None:
        return None
    if wanted.gates is not None:
        reason = reason_against(text, variables, wanted.gates)
        if (reason not in REDRAWN) if wanted.redraws else (reason is not None):
            return None
    return build_request(wanted.task, told, next_draw(parameters) if wanted.redraws else parameters, document)


def _second_draw(variables: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    return variables


def _answerability(variables: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """Of the request as the answer worded it; none where there is no answer."""
    reply = parse_reply(text, "answer").value
    if not isinstance(reply, AnswerReply) or not reply.answerable:
        return None
    return {"documents": variables["documents"], "instruction": reply.instruction.strip()}


_VARIABLES: dict[tuple[str, str], Callable[[Mapping[str, Any], str], Mapping[str, Any] | None]] = {
    ("answer", "answer"): _second_draw,
    ("answer", "answerability"): _answerability,
}
