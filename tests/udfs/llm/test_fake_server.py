"""The fake server itself: its replies satisfy our models and rest on the prompt, its faults follow the hash."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.fake_server import replies
from tests.fake_server.client import FakeServer
from tests.fake_server.faults import choose
from tests.udfs.llm.support import settings_for
from udfs.llm.openai_teacher import OpenAITeacher, wire_body
from udfs.llm.parse import parse_reply
from udfs.llm.requests import make_request
from udfs.llm.schemas import AnswerReply, LabelReply
from udfs.llm.teacher import Reply
from udfs.settings import LlmSettings

TEXT = " ".join(
    f"The {ordinal} chapter of the river survey describes the harbour and its {thing} in patient detail."
    for ordinal in ("first", "second", "third", "fourth")
    for thing in ("bridges", "lanterns", "warehouses", "captains")
)
PATH = [{"field": "tasks", "value": "compare the claims"}, {"field": "sentiment", "value": "calm"}]
CASES: dict[str, dict[str, Any]] = {
    "meta": {"user": TEXT, "assistant": "A summary."},
    "type_label": {"examples": ["river survey", "harbour survey"], "taken": ["Survey Documents"]},
    "document_label": {"text": TEXT, "labels": ["Recipes", "River Surveys"]},
    "task_rewrite": {"document_type": "survey", "field": "tasks", "value": "compare the claims"},
    "instruction": {
        "setting": "single",
        "document_type": "Surveys",
        "path": PATH,
        "demo_path": PATH,
        "demo_instruction": "Summarise.",
    },
    "answer": {
        "setting": "multi",
        "document_type": "Surveys",
        "documents": [{"doc_id": "a", "text": TEXT}, {"doc_id": "b", "text": TEXT.replace("river", "mountain")}],
        "instruction": "Compare the surveys.",
        "path": PATH,
    },
    "answerability": {"documents": [{"doc_id": "a", "text": TEXT}], "instruction": "Describe the harbour lanterns."},
}


def reply_for(task: str, json_mode: str = "schema") -> Any:
    """The parsed reply the server's generator gives."""
    settings = LlmSettings(json_mode=json_mode)
    name, value = replies.reply_to(wire_body(make_request(task, CASES[task], settings)))
    assert name == task
    parsed = parse_reply(json.dumps(value), task)
    assert parsed.error is None
    return parsed.value


@pytest.mark.parametrize("json_mode", ["schema", "object", "prompt"])
@pytest.mark.parametrize("task", CASES)
def test_replies_satisfy_the_models(task: str, json_mode: str) -> None:
    assert reply_for(task, json_mode) == reply_for(task)


def test_answers_quote_every_document_and_say_nothing_else() -> None:
    reply = reply_for("answer")
    assert isinstance(reply, AnswerReply) and reply.answerable
    documents = [document["text"] for document in CASES["answer"]["documents"]]
    assert {quote.document for quote in reply.quotes} == {1, 2}
    for quote in reply.quotes:
        assert quote.text in documents[quote.document - 1] and quote.text in reply.response


def test_labels_come_from_the_list_and_are_not_taken() -> None:
    assert reply_for("document_label") == LabelReply(label="River Surveys")
    assert reply_for("type_label").label != "Survey Documents"


def test_unknown_schemas_get_a_fitting_shape() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "of": {"type": "array", "items": {"type": "string"}}},
    }
    body = {
        "messages": [{"role": "user", "content": "rivers and harbours"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "odd", "schema": schema}},
    }
    name, value = replies.reply_to(body)
    assert (name, value) == ("odd", {"n": 1, "of": ["rivers harbours matter"]})


def test_drawn_faults_follow_the_hash_and_end_when_they_pass() -> None:
    rates = {"server_500": 0.2, "refusal": 0.1}
    first = [choose(str(n), "", rates, seed=1, tries=1, times=1) for n in range(2_000)]
    again = [choose(str(n), "", rates, seed=1, tries=2, times=1) for n in range(2_000)]
    assert 320 < first.count("server_500") < 480 and 140 < first.count("refusal") < 260
    assert again.count("server_500") == 0 and again.count("refusal") == first.count("refusal")
    assert first != [choose(str(n), "", rates, seed=2, tries=1, times=1) for n in range(2_000)]


def test_the_second_call_on_a_document_finds_it_cached_and_the_log_tells() -> None:
    case = {**CASES["answer"], "documents": [{"doc_id": "a", "text": TEXT * 10}], "setting": "single"}

    async def both(settings: LlmSettings) -> list[Reply]:
        teacher = OpenAITeacher(settings)
        drafts = ("Compare the surveys.", "Name the captains.")
        requests = [make_request("answer", {**case, "instruction": draft}, settings) for draft in drafts]
        found = [await teacher.complete(request) for request in requests]
        await teacher.aclose()
        return found

    with FakeServer(lifetime=60) as server:
        first, second = asyncio.run(both(settings_for(server, api_key_env="")))
        log = server.requests()
    assert first.tokens_cached == 0 and second.tokens_cached is not None and second.tokens_in is not None
    assert second.tokens_cached >= 0.8 * len(TEXT) * 10 / 4
    assert [(entry["answered"], entry["task"]) for entry in log] == [(True, "answer")] * 2
