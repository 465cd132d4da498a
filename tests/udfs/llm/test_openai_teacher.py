"""The OpenAI teacher against a real HTTP server: every fault becomes its kind, and the key stays secret."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import KEY, KEY_NAME, settings_for
from udfs.llm.addressing import address, key_headers
from udfs.llm.faults import limits, of_status, retry_after, scrub
from udfs.llm.openai_teacher import OpenAITeacher, wire_body
from udfs.llm.parse import parse_reply
from udfs.llm.requests import make_request
from udfs.llm.teacher import ErrorKind, Limits, Reply, Request
from udfs.llm.transport import AiohttpTransport, Completion
from udfs.settings import LlmSettings


def request_about(text: str, settings: LlmSettings) -> Request:
    """A small request."""
    return make_request("type_label", {"examples": [text], "taken": []}, settings)


def ask(settings: LlmSettings, text: str) -> Reply:
    """One reply from the server."""

    async def once() -> Reply:
        teacher = OpenAITeacher(settings)
        reply = await teacher.complete(request_about(text, settings))
        await teacher.aclose()
        return reply

    return asyncio.run(once())


def test_a_reply_carries_text_model_and_metered_tokens(settings: LlmSettings) -> None:
    reply = ask(settings, "research papers about rivers")
    assert (reply.status, reply.error_kind, reply.finish_reason) == ("ok", None, "stop")
    assert parse_reply(reply.text, "type_label").value is not None
    assert (reply.model, reply.tokens_cached) == ("fake-1", 0)
    assert reply.tokens_in is not None and reply.tokens_in > 100
    assert reply.tokens_out is not None and 0 < reply.seconds < 5


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limited", ErrorKind.RATE_LIMITED),
        ("rate_limited_date", ErrorKind.RATE_LIMITED),
        ("rate_limited_bare", ErrorKind.RATE_LIMITED),
        ("server_500", ErrorKind.SERVER),
        ("server_502", ErrorKind.SERVER),
        ("server_503", ErrorKind.SERVER),
        ("server_504", ErrorKind.SERVER),
        ("bad_body", ErrorKind.SERVER),
        ("disconnect", ErrorKind.CONNECTION),
        ("reset", ErrorKind.CONNECTION),
        ("length", ErrorKind.LENGTH),
        ("content_filter", ErrorKind.CONTENT_FILTER),
        ("content_filter_400", ErrorKind.CONTENT_FILTER),
        ("refusal", ErrorKind.REFUSAL),
        ("empty_choices", ErrorKind.EMPTY),
        ("empty_text", ErrorKind.EMPTY),
        ("tool_call", ErrorKind.TOOL_CALL),
        ("context_too_long", ErrorKind.CONTEXT_TOO_LONG),
        ("bad_request", ErrorKind.BAD_REQUEST),
        ("quota", ErrorKind.QUOTA),
        ("authentication", ErrorKind.AUTHENTICATION),
        ("model_not_found", ErrorKind.NOT_FOUND),
    ],
)
def test_every_fault_becomes_its_kind(settings: LlmSettings, fault: str, kind: ErrorKind) -> None:
    reply = ask(settings, f"[[fault:{fault}]]")
    assert (reply.error_kind, reply.status != "ok") == (kind, True)
    assert reply.error
    wanted = {"rate_limited": 0.05, "rate_limited_date": 3.0}
    assert reply.retry_after == wanted.get(fault)


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_slow_and_dripping_replies_time_out(server: FakeServer, settings: LlmSettings, fault: str) -> None:
    reply = ask(settings.model_copy(update={"timeout_s": 0.5}), f"[[fault:{fault}]] only here")
    assert (reply.error_kind, reply.status) == (ErrorKind.TIMEOUT, "passing")
    assert 0.4 < reply.seconds < 2.0


def test_truncated_text_is_kept(settings: LlmSettings) -> None:
    reply = ask(settings, "[[fault:length]]")
    assert reply.text and reply.finish_reason == "length" and reply.tokens_out


def test_nobody_listening_and_no_such_host_are_connection_faults(settings: LlmSettings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for nobody in (f"http://127.0.0.1:{port}/v1", "http://host.invalid/v1"):
        reply = ask(settings.model_copy(update={"base_url": nobody}), "x")
        assert (reply.error_kind, reply.status) == (ErrorKind.CONNECTION, "passing")


def test_a_server_that_takes_no_connection_is_told_apart_from_one_that_is_slow(settings: LlmSettings) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        place = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # fill its queue, so that nobody else gets in
            one.setblocking(False)
            one.connect_ex(place)
        changes = {"base_url": f"http://127.0.0.1:{place[1]}/v1", "timeout_s": 0.6}
        reply = ask(settings.model_copy(update=changes), "x")
        for one in waiting:
            one.close()
    assert (reply.error_kind, reply.status) == (ErrorKind.CONNECTION, "passing")


def test_a_certificate_that_is_not_trusted_stops_at_once(settings: LlmSettings, tmp_path: Path) -> None:
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-subj", "/CN=localhost", *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def against_it() -> Reply:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        teacher = OpenAITeacher(settings.model_copy(update={"base_url": f"https://localhost:{port}/v1"}))
        reply = await teacher.complete(request_about("x", settings))
        await teacher.aclose()
        server.close()
        return reply

    reply = asyncio.run(against_it())
    assert (reply.error_kind, reply.status) == (ErrorKind.CERTIFICATE, "fatal")
    assert reply.error is not None and "not trusted" in reply.error


def test_tls_failure_is_a_connection_fault(server: FakeServer, settings: LlmSettings) -> None:
    encrypted = server.base_url.replace("http://", "https://")  # the server speaks no TLS
    reply = ask(settings.model_copy(update={"base_url": encrypted}), "x")
    assert reply.error_kind == ErrorKind.CONNECTION


def test_wrong_path_is_fatal(server: FakeServer, settings: LlmSettings) -> None:
    reply = ask(settings.model_copy(update={"base_url": f"{server.base_url}/v2"}), "x")
    assert (reply.error_kind, reply.status) == (ErrorKind.NOT_FOUND, "fatal")


def test_wrong_key_is_fatal_and_not_repeated(settings: LlmSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_NAME, "wrong-key-93f2")
    reply = ask(settings, "x")  # the server repeats the key it was given
    assert (reply.error_kind, reply.status) == (ErrorKind.AUTHENTICATION, "fatal")
    assert reply.error is not None and "wrong-key" not in reply.error and "***" in reply.error


def test_missing_key_names_the_variable(settings: LlmSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_NAME)
    reply = ask(settings, "x")
    assert reply.status == "fatal" and reply.error is not None and KEY_NAME in reply.error


def test_server_without_keys_gets_no_header() -> None:
    with FakeServer(lifetime=60) as open_server:
        reply = ask(settings_for(open_server, api_key_env=""), "x")
    assert reply.status == "ok"


def test_key_is_read_at_each_call_and_kept_nowhere(
    server: FakeServer,
    settings: LlmSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def twice() -> tuple[Reply, Reply]:
        teacher = OpenAITeacher(settings)
        monkeypatch.setenv(KEY_NAME, "stale")
        first = await teacher.complete(request_about("a", settings))
        monkeypatch.setenv(KEY_NAME, KEY)
        second = await teacher.complete(request_about("a", settings))
        transport: Any = teacher._transport
        assert KEY not in repr(vars(teacher)) + repr(vars(transport)) + repr(vars(transport._session))
        await teacher.aclose()
        return first, second

    first, second = asyncio.run(twice())
    assert (first.status, second.status) == ("fatal", "ok")
    assert KEY not in caplog.text


def test_scrubbing_knows_keys_that_are_not_ours() -> None:
    for text in ("key sk-abc***xyz9", "Bearer abc.def", "http://user:pass@host/v1", f"our {KEY}"):
        assert "***" in scrub(text, KEY)
        assert not any(secret in scrub(text, KEY) for secret in ("abc", "pass", KEY))
    assert len(scrub("x" * 10_000, None)) == 500


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:09 GMT", "date": "Thu, 01 Jan 1970 00:00:04 GMT"}, 5.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT", "date": "Thu, 01 Jan 1970 00:00:04 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:09 GMT"}, None),
    ],
)
def test_retry_after(headers: Mapping[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (401, {"detail": "Invalid API key"}, ErrorKind.AUTHENTICATION, "HTTP 401: Invalid API key"),
        (400, {"error": {"message": "No"}, "detail": "x"}, ErrorKind.BAD_REQUEST, "HTTP 400: No"),
        (422, {"detail": [{"type": "missing"}]}, ErrorKind.BAD_REQUEST, "HTTP 422: no message"),
        (403, {"error": {"message": "Nope"}}, ErrorKind.FORBIDDEN, "HTTP 403: Nope"),
        (405, {"detail": "Not allowed"}, ErrorKind.BAD_REQUEST, "HTTP 405: Not allowed"),
        (410, {"detail": "Gone"}, ErrorKind.BAD_REQUEST, "HTTP 410: Gone"),
        (415, {"detail": "No"}, ErrorKind.BAD_REQUEST, "HTTP 415: No"),
        (408, {"detail": "Slow"}, ErrorKind.TIMEOUT, "HTTP 408: Slow"),
        (409, {"detail": "Busy"}, ErrorKind.SERVER, "HTTP 409: Busy"),
        (425, {"detail": "Early"}, ErrorKind.RATE_LIMITED, "HTTP 425: Early"),
        (424, {"error": "Generation failed"}, ErrorKind.SERVER, "HTTP 424: Generation failed"),
    ],
)
def test_an_error_is_told_in_the_servers_own_words(
    status: int, body: dict[str, Any], kind: ErrorKind, sentence: str
) -> None:
    """FastAPI's form among them."""
    reply = of_status(status, body, None)
    assert (reply.error_kind, reply.error) == (kind, sentence)


@pytest.mark.parametrize(
    ("kind", "message", "code"),
    [
        (ErrorKind.CONTENT_FILTER, "Input was flagged", None),
        (ErrorKind.CONTENT_FILTER, 'x/y requires moderation. Your input was flagged for "violence".', 403),
        (ErrorKind.CONTENT_FILTER, "Content violates usage guidelines. Team: a, API key ID: b", "permission-denied"),
        (ErrorKind.CONTENT_FILTER, "Prompt blocked due to security configurations", 2016),
        (ErrorKind.CONTENT_FILTER, "Request blocked: prompt injection patterns detected", None),
        (ErrorKind.CONTENT_FILTER, "The user's prompt was flagged by our safety system", None),
        (ErrorKind.CONTENT_FILTER, "Declined", "content_policy_violation"),
        (ErrorKind.FORBIDDEN, "Your organization was flagged for violating usage policies", None),
        (ErrorKind.FORBIDDEN, "To send requests, complete the safety verification of your organization", None),
        (ErrorKind.FORBIDDEN, "Requests of this user were flagged: content policy", None),
        (ErrorKind.FORBIDDEN, "Your account was blocked for prompts that violate our usage policies", None),
        (ErrorKind.FORBIDDEN, "Project p has no access to model m", "model_not_found"),
        (ErrorKind.FORBIDDEN, "Your request was blocked.", None),
        (ErrorKind.FORBIDDEN, "Your IP address was flagged for too many requests", None),
        (ErrorKind.FORBIDDEN, "Access to the chat endpoint is denied", "permission-denied"),
        (ErrorKind.FORBIDDEN, "Complete the safety check", None),
        (ErrorKind.QUOTA, "Your input was flagged", "insufficient_quota"),
    ],
)
def test_only_what_is_said_of_a_prompt_is_a_fault_of_its_row(kind: ErrorKind, message: str, code: object) -> None:
    """What a service refuses whoever asks, or whatever he asks, is told apart by the words of a 403 alone."""
    assert of_status(403, {"error": {"message": message, "code": code}}, None).error_kind == kind


def body_for(**changes: Any) -> dict[str, Any]:
    """The wire body under changed settings."""
    return wire_body(request_about("x", LlmSettings(model="m", **changes)))


def test_wire_body_in_each_json_mode() -> None:
    schema = body_for()["response_format"]
    assert schema["type"] == "json_schema"
    assert schema["json_schema"]["strict"] is True and schema["json_schema"]["name"] == "type_label"
    assert body_for(json_mode="object")["response_format"] == {"type": "json_object"}
    others = {"type": "json_object", "schema": schema["json_schema"]["schema"]}
    assert body_for(json_mode="object_schema")["response_format"] == others
    assert "response_format" not in body_for(json_mode="prompt")
    assert set(body_for(seed=4)) == {
        "model", "temperature", "max_tokens", "seed", "messages", "response_format"
    }  # fmt: skip


def test_a_document_names_the_cache_that_holds_its_prefix() -> None:
    request = replace(request_about("x", LlmSettings(model="m")), document="doc-7")
    assert wire_body(request, cache_key=True)["prompt_cache_key"] == "doc-7"
    assert "prompt_cache_key" not in wire_body(request)


def test_a_server_that_does_not_know_the_cache_key_is_not_shown_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[Mapping[str, Any]] = []

    class Strict:
        async def chat(self, body: Mapping[str, Any], key: str | None) -> Completion:
            bodies.append(body)
            if "prompt_cache_key" in body:
                error = {"error": {"message": "prompt_cache_key: extra fields not permitted"}}
                response = httpx.Response(400, request=httpx.Request("POST", "http://strict"))
                raise openai.APIStatusError("bad request", response=response, body=error)
            message = {"role": "assistant", "content": '{"label": "a"}'}
            return Completion(ChatCompletion.construct(choices=[{"message": message, "finish_reason": "stop"}]), {})

        async def aclose(self) -> None:
            pass

    settings = LlmSettings(teacher="openai", model="m", api_key_env="")
    teacher = OpenAITeacher(settings, Strict())
    request = replace(request_about("x", settings), document="d")
    told = [asyncio.run(teacher.complete(request)) for _ in range(3)]
    assert [(reply.status, reply.reworded) for reply in told] == [("lasting", True), ("ok", False), ("ok", False)]
    assert ["prompt_cache_key" in body for body in bodies] == [True, False, False]


def test_key_header_and_query_of_an_older_azure_address() -> None:
    assert key_headers("api-key", "k") == {"api-key": "k"} and key_headers("Authorization", "k") == {
        "Authorization": "Bearer k"
    }
    told = address(
        "https://x.openai.azure.com/openai/deployments/d/", "chat/completions", {"api-version": "2024-10-21"}
    )
    assert told == "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ({}, None),
        ({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}, Limits(500, 30_000)),
        ({"x-ratelimit-limit-requests": "500"}, Limits(500, None)),
        ({"x-ratelimit-limit-requests": "none", "x-ratelimit-limit-tokens": "0"}, Limits(None, None)),
    ],
)
def test_limits_are_read_from_headers(headers: Mapping[str, str], granted: Limits | None) -> None:
    assert limits(headers) == granted


def test_extra_body_wins() -> None:
    body = body_for(extra_body={"max_completion_tokens": 99, "temperature": 1.0, "top_k": 5})
    assert "max_tokens" not in body
    assert (body["max_completion_tokens"], body["temperature"], body["top_k"]) == (99, 1.0, 5)


@pytest.mark.parametrize("json_mode", ["schema", "object_schema", "object", "prompt"])
def test_each_json_mode_gets_a_readable_reply(settings: LlmSettings, json_mode: str) -> None:
    reply = ask(settings.model_copy(update={"json_mode": json_mode}), "legal texts")
    assert parse_reply(reply.text, "type_label").error is None


def test_another_transport_can_take_the_place_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closing:
        async def aclose(self) -> None:
            pass

    class Recorded(Closing):
        async def chat(self, body: Mapping[str, Any], key: str | None) -> Completion:
            message = {"role": "assistant", "content": json.dumps({"label": body["model"]})}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return Completion(ChatCompletion.construct(choices=[choice], model="m"), {})

    class Gateway(Closing):
        async def chat(self, body: Mapping[str, Any], key: str | None) -> Completion:
            error = {"error": {"code": 429, "message": f"slow down, {key}"}}
            return Completion(ChatCompletion.construct(**error), {})

    monkeypatch.setenv(KEY_NAME, KEY)
    settings = LlmSettings(teacher="openai", model="m", api_key_env=KEY_NAME)
    good = asyncio.run(OpenAITeacher(settings, Recorded()).complete(request_about("x", settings)))
    assert (good.status, good.text) == ("ok", '{"label": "m"}')
    limited = asyncio.run(OpenAITeacher(settings, Gateway()).complete(request_about("x", settings)))
    assert limited.error_kind == ErrorKind.RATE_LIMITED and KEY not in str(limited.error)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://models.example/v1", "http://proxy:3128"),
        ("http://inside.example/v1", None),
        ("http://127.0.0.1/v1", None),
    ],
)
def test_proxies_come_from_the_environment(url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example,127.0.0.1")
    assert AiohttpTransport(url, 1.0)._proxy == proxy
