"""Clusters of this machine, and our code on them as users ship it: a wheel's content by `--py-files`, or installed.

Executors get a Python with every package but ours, and folders that hold nothing of the checkout, so that what they
import can only have come with the job; or a Python into which the wheel was installed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.runtime import checkout
from jobs.runtime.java import find_java
from jobs.runtime.launch import WORKER_DAEMON

OURS = ("jobs", "udfs", "graphs", "sql")
SUBMIT = checkout.CHECKOUT / ".venv/bin/spark-submit"
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@dataclass(frozen=True)
class Shipment:
    """What a cluster gets: the job's file, our packages as a zip, a Python that has not seen the checkout, and one
    with the wheel in it."""

    job: Path
    packages: Path
    python: Path
    installed: Path


def ship(folder: Path) -> Shipment:
    """Build the wheel (Spark takes its content under the name of a zip) and make the Python."""
    source = folder / "source"
    for name in OURS:
        shutil.copytree(checkout.CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(checkout.CHECKOUT / name, source)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=source, capture_output=True, text=True, check=True
    )
    packages = folder / "longloom.zip"
    (folder / built.stdout.split()[-1]).rename(packages)
    job = folder / "synthesize.py"
    shutil.copy(checkout.CHECKOUT / "jobs/synthesize.py", job)
    installed = _python(folder / "installed")
    shutil.unpack_archive(packages, next(installed.parents[1].glob("lib/python*/site-packages")))
    return Shipment(job, packages, _python_without_ours(folder / "python"), installed)


def _python(folder: Path) -> Path:
    """An environment that finds this one's packages: path files in them, an editable install's too, are not read."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return folder / "bin" / "python"


def _python_without_ours(folder: Path) -> Path:
    python = _python(folder)
    seen = subprocess.run(
        [python, "-c", "import pyspark, udfs"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "No module named 'udfs'" in seen.stderr, f"our code is seen without being shipped: {seen.stderr}"
    return python


@contextmanager
def standalone(folder: Path, workers: int = 2) -> Iterator[str]:
    """A master and its workers, one core each, on the loopback; yields the master's address."""
    folder.mkdir(parents=True, exist_ok=True)
    port, page = _free_port(), _free_port()
    address = f"spark://127.0.0.1:{port}"
    master = ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
    worker = ["worker.Worker", "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "2g"]
    commands = [master] + [[*worker, "--work-dir", str(folder / f"work-{n}"), address] for n in range(workers)]
    home, java = checkout.spark_home(), find_java(os.environ)
    assert home is not None and java is not None
    environment = bare_environment() | {
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(java.home),
        "SPARK_DAEMON_MEMORY": "256m",
    }
    environment["SPARK_LOCAL_IP"] = "127.0.0.1"
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (folder / f"{command[0]}-{len(started)}.log").open("wb") as log:
                whole = [str(home / "bin/spark-class"), f"org.apache.spark.deploy.{command[0]}", *command[1:]]
                started.append(subprocess.Popen(whole, cwd=folder, env=environment, stdout=log, stderr=log))
        _until_registered(page, workers)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def shipped(master: str, shipment: Shipment, installed: bool = False) -> list[str]:
    """The beginning of a command that submits a job with our code and a Python that has not seen the checkout.

    Where the wheel is `installed`, workers are forked as the pages on clusters advise.
    """
    python = shipment.installed if installed else shipment.python
    command = [
        str(SUBMIT), "--properties-file", str(checkout.SPARK_DEFAULTS), "--master", master,
        "--conf", "spark.executor.memory=1g",
        "--conf", f"spark.pyspark.python={python}", "--conf", f"spark.pyspark.driver.python={python}",
    ]  # fmt: skip
    if not installed:
        return [*command, "--py-files", str(shipment.packages)]
    return [*command, *(part for key, value in WORKER_DAEMON.items() for part in ("--conf", f"{key}={value}"))]


def submit(
    root: Path,
    given: Sequence[str],
    master: str,
    shipment: Shipment,
    *more: str,
    confs: Sequence[str] = (),
    installed: bool = False,
) -> dict[str, Any]:
    """Run the job on a cluster to its end; what its summary says."""
    summary = root.parent / f"{root.name}.json"
    command = shipped(master, shipment, installed)
    for conf in confs:
        command += ["--conf", conf]
    command += [str(shipment.job), "--root", str(root), "--summary", str(summary), *more]
    for override in given:
        command += ["--set", override]
    environment = {**bare_environment(), "SPARK_WORKER_DIR": str(root.parent / "work")}
    done = subprocess.run(
        command, cwd=root.parent, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return found


def bare_environment() -> dict[str, str]:
    """This process's environment without what leads to the checkout or to another Spark."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_HOME", "SPARK_CONF_DIR")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _until_registered(page: int, workers: int) -> None:
    """Wait for the workers. Raises TimeoutError."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=5) as reply:
                if json.load(reply)["aliveworkers"] == workers:
                    return
        except OSError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{workers} workers did not register within two minutes")
