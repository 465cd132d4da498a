"""Limits of half of what could be sent, over two executors: used to the full and never passed, by the server's log."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import bare_environment, ship, shipped
from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import settings_for
from tests.udfs.llm.windows import most_in_any_window

WINDOW_S, LATENCY_S, CONCURRENCY = 60.0, 0.13, 8  # of two executors: 123 calls of some 250 tokens a second
LIMITS = {"requests": 3_600, "tokens": 900_000}  # half of it


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("limit", LIMITS)
def test_one_limit_for_two_executors(tmp_path: Path, limit: str) -> None:
    allowed = LIMITS[limit]
    with FakeServer(lifetime=600, latency=LATENCY_S) as server:
        changes: dict[str, Any] = {f"{limit}_per_minute": allowed, "rate_window_s": WINDOW_S}
        settings = settings_for(server, api_key_env="", concurrency=CONCURRENCY, **changes)
        told = sent(tmp_path, settings.model_dump(mode="json"), calls=round(LIMITS["requests"] * 1.6))
        log = server.requests()
    assert told == {"ends": {"ok": len(log)}, "executors": 2}
    most = dict(zip(("requests", "tokens"), most_in_any_window(log, WINDOW_S), strict=True))[limit]
    whole = {"requests": len(log), "tokens": sum(entry["usage"]["total_tokens"] for entry in log)}[limit]
    took = max(entry["start"] for entry in log) - min(entry["start"] for entry in log)
    used = whole / (allowed * took / WINDOW_S)
    print(f"{limit}: {used:.3f} of the limit over {took / WINDOW_S:.1f} windows; {most} of {allowed} at most in any")
    assert most <= allowed and used >= 0.9


def sent(folder: Path, settings: dict[str, Any], calls: int) -> dict[str, Any]:
    """What the job of `sends.py` says when two executors have sent `calls`, with our code shipped to them."""
    given = folder / "given.json"
    given.write_text(json.dumps({"settings": settings, "calls": calls}), encoding="utf-8")
    shipment = ship(folder / "shipment")
    job = [str(Path(__file__).with_name("sends.py")), str(given)]
    command = [*shipped("local-cluster[2,1,1024]", shipment), *job]
    environment = {**bare_environment(), "SPARK_WORKER_DIR": str(folder / "work")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
