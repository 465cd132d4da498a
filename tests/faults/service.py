"""The fake server as a service that dies: killed and started again on its port, with one log of all its lives."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.fake_server.client import FakeServer, logged
from tests.faults.account import Kills, require_asked_once

LIFETIME_S = 7200.0
# A fifth of all requests; what rejects is a function of the request, what passes spoils its first try.
FAULTS = {
    "rate_limited": 0.03, "server_500": 0.02, "server_503": 0.02, "disconnect": 0.02, "reset": 0.02, "bad_body": 0.02,
    "duplicate": 0.01, "bad_schema": 0.02, "content_filter": 0.01, "refusal": 0.01, "length": 0.01,
    "never_schema": 0.01,
}  # fmt: skip
SEED = 241  # draws ten kinds of them for the requests of this corpus


class Service:
    """The fake server, killed and started again on its port; one log of all its lives."""

    def __init__(self, log: Path, latency: float) -> None:
        self._log, self._latency, self._port = log, latency, 0
        self._running = self._started()

    def restart(self, pause: float) -> None:
        """SIGKILL, and after a pause another process on the same port."""
        self._running.kill()
        time.sleep(pause)
        self._running.__exit__()
        self._running = self._started()

    def close(self) -> None:
        self._running.__exit__()

    @property
    def base_url(self) -> str:
        return self._running.base_url

    @property
    def port(self) -> int:
        return self._port

    @property
    def answered(self) -> int:
        return sum(request["answered"] for request in logged(self._log))

    @property
    def met(self) -> set[str]:
        """Kinds of the faults that requests met."""
        return {request["fault"] for request in logged(self._log) if request["fault"]}

    def require_asked_once(self, kills: Kills) -> None:
        require_asked_once(logged(self._log), kills)

    def _started(self) -> FakeServer:
        given = {"faults": FAULTS, "seed": SEED, "latency": self._latency}
        given |= {"port": self._port, "log_file": str(self._log)}
        running = FakeServer(lifetime=LIFETIME_S, key=os.environ["FAKE_KEY"], **given).__enter__()
        self._port = running.port
        return running
