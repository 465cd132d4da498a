"""The look at the endpoint before a run: not there, refused, there."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.fake_server.client import FakeServer
from udfs.llm.probe import probe
from udfs.llm.teacher import ErrorKind
from udfs.settings import LlmSettings


def settings(base_url: str) -> LlmSettings:
    return LlmSettings(teacher="openai", base_url=base_url, api_key_env="PROBE_KEY")


def test_an_endpoint_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_KEY", "right")
    with FakeServer(key="right") as server:
        assert probe(settings(server.base_url)) is None
        assert probe(settings(f"{server.base_url}/elsewhere")) is None, "it answers; what it serves is not asked"
        monkeypatch.setenv("PROBE_KEY", "wrong-secret")
        refused = probe(settings(server.base_url))
        assert refused is not None and refused.error_kind == ErrorKind.AUTHENTICATION
        assert "wrong-secret" not in str(refused.error)
        assert server.requests() == [], "looking costs no call"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1", "nonsense", "http://:x"]
)
def test_an_endpoint_that_is_not(address: str) -> None:
    missing = probe(settings(address))
    assert missing is not None and missing.error_kind == ErrorKind.CONNECTION and missing.error


@pytest.mark.parametrize("key_header", ["Authorization", "api-key"])
def test_a_redirect_is_not_shown_the_key(monkeypatch: pytest.MonkeyPatch, key_header: str) -> None:
    """A page for signing in at another host, as gateways have it."""
    asked: list[str] = []

    class Redirects(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if self.path == "/v1/models" else 200)
            self.send_header("Location", f"http://127.0.0.1:{other.server_port}/login")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("PROBE_KEY", "secret")
    with HTTPServer(("127.0.0.1", 0), Redirects) as first, HTTPServer(("127.0.0.1", 0), Redirects) as other:
        for each in (first, other):
            Thread(target=each.serve_forever, daemon=True).start()
        there = settings(f"http://127.0.0.1:{first.server_port}/v1").model_copy(update={"key_header": key_header})
        assert probe(there) is None, "it answers"
        for each in (first, other):
            each.shutdown()
    assert asked == ["/v1/models"]
