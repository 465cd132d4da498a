"""Lines of batch files: a request becomes one, and one of the provider's becomes a reply, typed as online.

It opens no file and makes no call.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import orjson
from openai.types.chat import ChatCompletion

from udfs.llm.faults import of_error_body, of_status
from udfs.llm.openai_teacher import read_completion, wire_body
from udfs.llm.teacher import ErrorKind, Reply, Request, failed
from udfs.llm.text import canonical_json

URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
# Lines that never ran: nothing is recorded of them, and their requests are asked again.
_NOT_RUN = frozenset({"batch_expired", "batch_cancelled"})


def request_line(call: Request) -> bytes:
    """The line that asks for a call; its key finds the result, in whatever order results come."""
    return orjson.dumps({"custom_id": call.key, "method": "POST", "url": URL, "body": wire_body(call)}) + b"\n"


def call_line(call: Request, parent_key: str | None, prompt_sha: str) -> bytes:
    """What the record of a call needs besides its reply; no text of a prompt is in it."""
    return (
        orjson.dumps(
            {
                "key": call.key,
                "parent_key": parent_key,
                "task": call.task,
                "prompt_sha": prompt_sha,
                "parameters": canonical_json(dict(call.parameters)),
            }
        )
        + b"\n"
    )


class Result(NamedTuple):
    """One line of a provider's file; `reply` is None where the request did not run."""

    key: str
    reply: Reply | None


def read_result(line: bytes, key: str | None = None) -> Result | None:
    """The result in a line of an output or an error file; None for a line that is none. `key` is scrubbed off."""
    try:
        told = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(told, dict) or not isinstance(told.get("custom_id"), str):
        return None
    return Result(told["custom_id"], _reply(told.get("response"), told.get("error"), key))


def _reply(response: Any, error: Any, key: str | None) -> Reply | None:
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        status, body = response["status_code"], response.get("body")
        if status // 100 != 2:
            return of_status(status, body, key)
        if not isinstance(body, dict):
            return failed(ErrorKind.SERVER, "the body of the reply is no JSON object")
        completion = ChatCompletion.construct(**body)
        return of_error_body(completion, key) or read_completion(completion, key)
    if isinstance(error, dict):
        if error.get("code") in _NOT_RUN:
            return None
        return of_status(500, {"error": error}, key)
    return failed(ErrorKind.SERVER, "the line has neither a response nor an error")
