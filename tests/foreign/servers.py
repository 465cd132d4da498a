"""Servers of others, started from a test: `with llama_cpp(folder, key) as server: server.base_url`.

They are installed in an environment of their own (`make faults` makes it) and know nothing of this project.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from jobs.runtime.checkout import CHECKOUT
from udfs.models.influence.shipped import embedded_folder

PROGRAMS = CHECKOUT / ".venv" / "servers" / "bin"
TINY_MODEL = Path(__file__).with_name("tiny_model.py")
START_S, LIFETIME_S = 300.0, 3600  # the first start compiles torch's modules; no server lives longer, whatever happens
CONTEXT = 8_192  # tokens, of both models
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "


class Foreign:
    """A server in a process group of its own, for as long as the block lasts."""

    def __init__(self, command: list[str], port: int, model: str, log: Path, **environment: str) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.model = model
        self._log = log
        self._command = ["timeout", str(LIFETIME_S), *command]
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> Foreign:
        with self._log.open("wb") as said:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _wait(self) -> None:
        """Until it answers anything at all."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self._process.poll() is None, self.said[-3000:]
            try:
                with urlopen(f"{self.base_url}/models", timeout=5):
                    return
            except HTTPError:
                return
            except (URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(f"the server did not start in {START_S:.0f} s: {self.said[-3000:]}")


def llama_cpp(folder: Path, key: str) -> Foreign:
    """llama-cpp-python's server: a grammar holds replies to JSON, and to a schema in a form of its own."""
    model, port = folder / "tiny.gguf", free_port()
    python = str(program("python"))
    made = [python, str(TINY_MODEL), str(model), "--context", str(CONTEXT)]
    subprocess.run(made, check=True, capture_output=True, timeout=START_S)
    command = [python, "-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", str(port), "--api_key", key]
    command += ["--model", str(model), "--model_alias", "tiny", "--n_ctx", str(CONTEXT)]
    return Foreign(command, port, "tiny", folder / "llama_cpp.log")


def transformers_serve(folder: Path, writes: Callable[[Path], object] | None = None) -> Foreign:
    """`transformers serve` with a model that `writes` puts into a folder, or else with one of the embedded pair.

    It takes any key, and holds replies to nothing.
    """
    model, port = folder / "model", free_port()
    (writes or copy_embedded)(model)
    (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    command = [str(program("transformers")), "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    hub = folder / "hub"
    hub.mkdir()
    environment = {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # nothing is fetched
    return Foreign([*command, "--device", "cpu"], port, str(model), folder / "transformers.log", **environment)


def copy_embedded(folder: Path) -> None:
    """The long model of the embedded pair, under another name."""
    shipped = embedded_folder("long")
    assert shipped is not None, "the embedded pair is not there"
    shutil.copytree(shipped, folder)


def program(name: str) -> Path:
    """A program of the servers' environment."""
    found = PROGRAMS / name
    assert found.exists(), f"{found} is not there; `make faults` makes it"
    return found


def free_port() -> int:
    """A port of the loopback that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
