"""What a provider of batches is shown, and what its replies are expected to come to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.fake_server.client import FakeServer
from tests.udfs.llm.batch_support import EXPECTED, batch_settings, write
from tests.udfs.llm.support import KEY, KEY_NAME
from udfs.llm.batch.client import BatchClient, ProviderFault
from udfs.llm.batch.store import Endpoint
from udfs.llm.batch.writing import Expected
from udfs.llm.requests import make_request
from udfs.settings import LlmSettings


def test_a_reply_is_expected_to_come_to_what_the_wire_allows(tmp_path: Path, server: FakeServer) -> None:
    """Reasoning models are given their limit by the newer name."""
    price, texts = EXPECTED.price, ["one"]
    assert price is not None
    told = [
        Expected(1 / 3, 90_000.0, price).usd(call)
        for extra in ({}, {"max_completion_tokens": 40_000})
        for call in [
            make_request("type_label", {"examples": texts, "taken": []}, batch_settings(server, extra_body=extra))
        ]
    ]
    assert told[1] - told[0] == pytest.approx(price.cost(0, 40_000 - 4_096))
    tight = batch_settings(server, context_tokens=30_000, extra_body={"max_completion_tokens": 40_000})
    assert write(tmp_path, tight, texts) == [] and write(tmp_path, batch_settings(server, context_tokens=30_000), texts)


@pytest.mark.parametrize("key_header", ["Authorization", "api-key"])
def test_every_step_shows_the_key_in_its_header_and_to_its_host_alone(
    monkeypatch: pytest.MonkeyPatch, key_header: str
) -> None:
    monkeypatch.setenv(KEY_NAME, KEY)
    shown: list[tuple[str | None, str | None, str]] = []

    class Provider(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append((self.headers["Authorization"], self.headers["api-key"], self.path))
            moved = self.path.endswith("moved/content")
            self.send_response(302 if moved else 200)
            self.send_header("Content-Type", "application/json")
            if moved:
                self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/elsewhere")
            body = b"" if moved else b'{"data": [], "object": "list", "id": "b", "status": "completed"}'
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Provider) as provider:
        Thread(target=provider.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{provider.server_port}/v1"
        client = BatchClient(Endpoint.of(LlmSettings(base_url=where, api_key_env=KEY_NAME, key_header=key_header)))
        client.can_batch()
        client.upload("name", BytesIO(b"{}"))
        client.create("file", "name")
        client.find("name", 0.0)
        client.find_file("name", 0.0)
        client.get("b")
        client.cancel("b")
        client.has_file("f")
        assert b"".join(client.lines("f"))
        client.delete_file("f")
        with suppress(ProviderFault):
            list(client.lines("moved"))
        client.close()
        provider.shutdown()
    own = (f"Bearer {KEY}", None) if key_header == "Authorization" else (None, KEY)
    at_home, away = (
        [seen for seen in shown if seen[2] != "/elsewhere"],
        [seen for seen in shown if seen[2] == "/elsewhere"],
    )
    assert len(at_home) == 11 and {seen[:2] for seen in at_home} == {own}
    # The package follows a redirect without its own header; with another one in its place it is not followed.
    assert [seen[:2] for seen in away] == ([(None, None)] if key_header == "Authorization" else [])


@pytest.mark.parametrize("key_header", ["Authorization", "api-key"])
def test_no_step_but_a_download_follows_a_redirect(monkeypatch: pytest.MonkeyPatch, key_header: str) -> None:
    """Prompts, and the marks of batches, are for the host that the settings name."""
    monkeypatch.setenv(KEY_NAME, KEY)
    asked: list[str] = []

    class Redirects(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(200 if self.path == "/elsewhere" else 307)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Redirects) as provider:
        Thread(target=provider.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{provider.server_port}/v1"
        client = BatchClient(Endpoint.of(LlmSettings(base_url=where, api_key_env=KEY_NAME, key_header=key_header)))
        steps: list[Callable[[], object]] = [
            client.can_batch,
            lambda: client.upload("name", BytesIO(b"{}")),
            lambda: client.create("file", "name"),
            lambda: client.find("name", 0.0),
            lambda: client.find_file("name", 0.0),
            lambda: client.get("b"),
            lambda: client.cancel("b"),
            lambda: client.delete_file("f"),
        ]
        for step in steps:
            with pytest.raises(ProviderFault) as refused:
                step()
            assert (refused.value.reply.error_kind, refused.value.reply.status) == ("not_found", "fatal")
        client.close()
        provider.shutdown()
    assert len(asked) == len(steps) and "/elsewhere" not in asked
