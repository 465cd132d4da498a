"""Starting the fake server from a test: `with FakeServer(key="k") as server: server.base_url`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen


def logged(path: Path) -> list[dict[str, Any]]:
    """The requests that servers with this `log_file` have ended, dead servers' too."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


class FakeServer:
    """The fake server in a process of its own, for as long as the block lasts and never beyond `lifetime`."""

    def __init__(self, lifetime: float = 900.0, **options: Any) -> None:
        self._command = [
            sys.executable,
            str(Path(__file__).with_name("server.py")),
            "--lifetime",
            str(lifetime),
            "--options",
            json.dumps(options),
        ]

    def __enter__(self) -> FakeServer:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fake server did not start"
        self.port = json.loads(line)["port"]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def kill(self) -> None:
        """SIGKILL, in mid-flight."""
        self._process.kill()
        self._process.wait()

    def requests(self) -> list[dict[str, Any]]:
        """The log: one entry per request that came in."""
        found: list[dict[str, Any]] = self._get("/log")["requests"]
        return found

    def batches(self) -> list[dict[str, Any]]:
        """The log of batches: one entry per batch that was made, as it stands."""
        found: list[dict[str, Any]] = self._get("/log")["batches"]
        return found

    def most_in_flight(self) -> int:
        """The largest number of requests that were open at once."""
        return int(self._get("/log")["most_in_flight"])

    def change(self, **options: Any) -> None:
        """Change options while the server runs."""
        body = json.dumps(options).encode()
        with urlopen(Request(self._url("/options"), data=body, method="POST"), timeout=10):
            pass

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def _get(self, path: str) -> Any:
        with urlopen(self._url(path), timeout=10) as response:
            return json.load(response)
