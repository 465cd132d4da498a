"""What an endpoint can do, found out by asking it; and how the doctor tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.runtime.endpoints import check_endpoints, settle_json_modes
from jobs.runtime.errors import ServiceRefused
from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import settings_for
from udfs.llm.examine import examine
from udfs.settings import LlmSettings


@pytest.mark.parametrize(
    ("schema", "mode", "calls"),
    [("strict", "schema", 1), ("in_object", "object_schema", 2), ("refused", "object", 3), ("ignored", "object", 3)],
)
def test_the_strictest_form_that_works(schema: str, mode: str, calls: int) -> None:
    with FakeServer(lifetime=30, schema=schema, grants={"requests": 500}) as server:
        found = examine(settings_for(server, api_key_env=""))
        assert found.json_mode == mode and found.limits is not None and found.limits.requests == 500
        assert len(server.requests()) == calls


def test_a_server_that_only_talks_is_told_by_prompt() -> None:
    with FakeServer(lifetime=30, faults={"length": 1.0}) as server:
        assert examine(settings_for(server, api_key_env="")).json_mode == "prompt"


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
    with pytest.raises(ServiceRefused, match="cannot be used"):
        settle_json_modes(llm, [], lambda stage: None)
    assert settle_json_modes(LlmSettings(json_mode="auto"), [], lambda stage: None).json_mode == "schema"
