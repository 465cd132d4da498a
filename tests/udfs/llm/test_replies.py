"""What servers write into bodies, in the words of many: the text of a reply, how it ended, what went wrong."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from udfs.llm.faults import of_error_body, of_status
from udfs.llm.openai_teacher import read_completion
from udfs.llm.teacher import ErrorKind, Reply


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8192 tokens.",
        "the request exceeds the available context size, try increasing it",
        "`inputs` tokens + `max_new_tokens` must be <= 4096",
        "input length and `max_tokens` exceed context limit",
        "The input token count exceeds the maximum number of tokens allowed",
        "The decoder prompt is longer than the maximum model length of 4096",
        "Input is too long for requested model.",
    ],
)
def test_what_is_too_long_is_told_in_many_ways(words: str) -> None:
    assert of_status(400, {"error": {"message": words}}, None).error_kind == ErrorKind.CONTEXT_TOO_LONG


def test_an_error_in_a_body_is_a_fault_of_its_row_where_its_code_says_so() -> None:
    for code, kind in (("content_filter", ErrorKind.CONTENT_FILTER), ("other", ErrorKind.SERVER)):
        body = ChatCompletion.construct(error={"code": code, "message": "No"})
        reply = of_error_body(body, None)
        assert reply is not None and reply.error_kind == kind


def ended(reason: str | None, content: object = '{"label": "A', **more: Any) -> Reply:
    message = {"role": "assistant", "content": content}
    return read_completion(ChatCompletion.construct(choices=[{"message": message, "finish_reason": reason, **more}]))


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        *((reason, ErrorKind.LENGTH) for reason in ("length", "model_length", "MAX_TOKENS", "max_tokens")),
        *((reason, ErrorKind.CONTENT_FILTER) for reason in ("content_filter", "SAFETY", "RECITATION")),
        *((reason, ErrorKind.SERVER) for reason in ("error", "abort")),
        *((reason, None) for reason in ("stop", "STOP", "eos_token", "end_turn", None)),
    ],
)
def test_how_a_reply_ended_is_told_in_many_ways(reason: str | None, kind: ErrorKind | None) -> None:
    assert ended(reason).error_kind == kind


def test_a_reply_that_the_server_broke_off_says_why() -> None:
    reply = ended("stop", error={"code": 502, "message": "Upstream broke"})
    assert (reply.status, reply.error_kind) == ("passing", ErrorKind.SERVER) and "Upstream broke" in str(reply.error)


def test_a_reply_in_parts_is_what_it_says_to_the_reader() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    parts = [thought, {"type": "text", "text": '{"label": '}, {"type": "text", "text": '"A"}'}]
    assert ended("stop", parts).text == '{"label": "A"}'
    assert ended("stop", [thought]).error_kind == ErrorKind.EMPTY


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({}, ErrorKind.EMPTY),
        ({"choices": None}, ErrorKind.EMPTY),
        ({"choices": [{}]}, ErrorKind.SERVER),
        ({"choices": [{"message": None, "finish_reason": "stop"}]}, ErrorKind.SERVER),
        ({"choices": ["text"]}, ErrorKind.SERVER),
        ({"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}, ErrorKind.EMPTY),
    ],
)
def test_odd_shapes_do_not_raise(payload: dict[str, Any], kind: ErrorKind) -> None:
    assert read_completion(ChatCompletion.construct(**payload)).error_kind == kind
