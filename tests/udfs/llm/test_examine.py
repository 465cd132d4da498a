"""What an endpoint can do, found out by asking it; and how the doctor tells."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.runtime.endpoints import check_endpoints, settle_json_modes
from jobs.runtime.errors import ServiceRefused
from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import settings_for
from udfs.llm.examine import _MARK as MARK
from udfs.llm.examine import _examine, examine
from udfs.llm.retry import RetryPolicy
from udfs.llm.teacher import ErrorKind, Reply, Request, failed
from udfs.settings import LlmSettings

AT_ONCE = RetryPolicy(first_wait=0.01)


@pytest.mark.parametrize(
    ("schema", "mode", "calls"),
    [
        ("strict", "schema", 1),
        ("in_object", "object_schema", 2),
        ("refused", "object", 3),
        ("ignored", "object", 3),
        ("crashes", "object_schema", 7),  # three tries, and three more once the weaker form was answered
    ],
)
def test_the_strictest_form_that_works(schema: str, mode: str, calls: int) -> None:
    with FakeServer(lifetime=30, schema=schema, grants={"requests": 500}) as server:
        found = examine(settings_for(server, api_key_env=""), AT_ONCE)
        assert found.json_mode == mode and found.limits is not None and found.limits.requests == 500
        assert len(server.requests()) == calls


def test_a_server_that_only_talks_is_told_by_prompt() -> None:
    with FakeServer(lifetime=30, faults={"length": 1.0}) as server:
        assert examine(settings_for(server, api_key_env="")).json_mode == "prompt"


@pytest.mark.parametrize("fault", ["server_500", "server_503", "rate_limited", "disconnect"])
def test_a_fault_that_passes_does_not_weaken_the_form(fault: str) -> None:
    """Every request fails once, and is answered when it comes again."""
    with FakeServer(lifetime=30, faults={fault: 1.0}, times=1) as server:
        assert examine(settings_for(server, api_key_env=""), AT_ONCE).json_mode == "schema"
        assert [entry["fault"] for entry in server.requests()] == [fault, None]


@pytest.mark.parametrize(
    ("fault", "kind", "calls"),
    [
        ("server_503", "server", 3),
        ("rate_limited", "rate_limited", 4),
        ("disconnect", "connection", 3),
        ("slow", "timeout", 2),
        ("server_500", "server", 12),  # it may be meant for the form: all four are tried
    ],
)
def test_a_fault_that_stays_is_the_endpoints(fault: str, kind: str, calls: int) -> None:
    with FakeServer(lifetime=30, faults={fault: 1.0}, times=99, slow=3.0, retry_after=0.01) as server:
        found = examine(settings_for(server, api_key_env="", timeout_s=0.5), AT_ONCE)
        assert found.json_mode is None and (found.reply.status, found.reply.error_kind) == ("passing", kind)
        assert len(server.requests()) == calls


@dataclass
class Failing:
    """A teacher that has the wished form and fails as told, try after try; then it answers."""

    fails: list[Reply]

    async def complete(self, request: Request) -> Reply:
        """Fail while there is something left to fail with."""
        return self.fails.pop(0) if self.fails else Reply("ok", text=json.dumps({"probe": MARK}))


@pytest.mark.parametrize(("status", "again", "mode"), [(500, 0, "schema"), (500, 3, "object_schema"), (503, 0, None)])
def test_a_form_that_crashed_is_asked_for_again_once_another_one_worked(
    status: int, again: int, mode: str | None
) -> None:
    """An outage that lasts as long as the tries of one form; only a 500 on both sides of an answer is the form's."""
    outage = failed(ErrorKind.SERVER, f"HTTP {status}", http_status=status)
    answer = Reply("ok", text=json.dumps({"probe": MARK}))
    teacher = Failing([outage] * 3 + [answer] + [outage] * again)
    assert asyncio.run(_examine(teacher, LlmSettings(), AT_ONCE)).json_mode == mode


def test_an_endpoint_that_cannot_be_used(server: FakeServer, settings: LlmSettings) -> None:
    before = len(server.requests())
    found = examine(settings_for(server, api_key_env=""))
    assert found.json_mode is None and found.reply.error_kind == "authentication"
    assert len(server.requests()) == before + 1, "a key that is wrong is wrong in every form"


def test_the_doctor_asks_each_endpoint_once(tmp_path: Path) -> None:
    with FakeServer(lifetime=30, grants={"requests": 500}) as one, FakeServer(lifetime=30, schema="refused") as other:
        text = f"""
            llm:
              teacher: openai
              base_url: {one.base_url}
              api_key_env: ""
              model: fake-1
              stages:
                samples: {{base_url: "{other.base_url}"}}
                instructions: {{temperature: 0.1}}
            """
        config = tmp_path / "c.yaml"
        config.write_text(text, encoding="utf-8")
        told = [(finding.name, finding.state) for finding in check_endpoints(config)]
        assert told == [
            ("endpoint", "good"),
            ("endpoint", "good"),
            ("endpoint", "good"),
            ("endpoint samples", "good"),
            ("endpoint samples", "bad"),
        ]
        assert "500 requests a minute" in check_endpoints(config)[2].detail
    (gone, _) = check_endpoints(config)
    assert gone.state == "bad" and "start the server" in gone.mend


def test_the_doctor_tells_whether_an_endpoint_takes_batches(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    with FakeServer(lifetime=30) as server:
        llm = f'{{teacher: openai_batch, base_url: "{server.base_url}", api_key_env: "", model: fake-1}}'
        config.write_text(f"llm: {llm}", encoding="utf-8")
        assert check_endpoints(config)[-1].detail == f"{server.base_url} takes batches"
        server.change(batches=False)
        lacks = check_endpoints(config)[-1]
        assert lacks.state == "bad" and "has no /batches" in lacks.detail and "llm.teacher=openai" in lacks.mend


def test_modes_that_are_left_open_are_decided_once_per_endpoint_and_then_kept() -> None:
    with FakeServer(lifetime=30) as strict, FakeServer(lifetime=30, schema="refused") as lax:
        stages = {"samples": {"base_url": lax.base_url}, "meta_records": {"json_mode": "prompt"}}
        llm = settings_for(strict, api_key_env="", json_mode="auto", stages=stages)
        decided = settle_json_modes(llm, ["instructions", "samples"], lambda stage: None)
        modes = {name: decided.of(name).json_mode for name in ("instructions", "samples", "meta_records")}
        assert modes == {"instructions": "schema", "samples": "object", "meta_records": "prompt"}
        assert (len(strict.requests()), len(lax.requests())) == (1, 3)
        kept = settle_json_modes(llm, ["instructions", "samples"], {"instructions": "object", "samples": "prompt"}.get)
        assert (kept.json_mode, kept.of("samples").json_mode) == ("object", "prompt")
        assert (len(strict.requests()), len(lax.requests())) == (1, 3), "nobody was asked again"
    with pytest.raises(ServiceRefused, match=r"cannot be used \(connection\).*Run again later, or run jobs/doctor.py"):
        settle_json_modes(llm, [], lambda stage: None)
    assert settle_json_modes(LlmSettings(json_mode="auto"), [], lambda stage: None).json_mode == "schema"
