"""Fixtures of the tests on calls: one fake server for all, and settings that point to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import KEY, KEY_NAME, settings_for
from udfs.settings import LlmSettings


@pytest.fixture(scope="session")
def server() -> Iterator[FakeServer]:
    """A server that wants the canary key and has no faults of its own."""
    with FakeServer(key=KEY, slow=2.0) as running:
        yield running


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A server of its own: its log is counted."""
    monkeypatch.setenv(KEY_NAME, KEY)
    with FakeServer(key=KEY) as running:
        yield running


@pytest.fixture
def settings(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> LlmSettings:
    """Settings for the shared server."""
    monkeypatch.setenv(KEY_NAME, KEY)
    return settings_for(server)
