"""Who is counted as what when a benchmark looks at memory."""

from __future__ import annotations

import subprocess
import sys

from tests.benchmarks.processes import Meter, Peaks, command, is_worker, share

HOLD = "held = bytearray(64 << 20); print(flush=True); input()"


def test_the_jvm_is_no_worker_though_its_settings_name_one() -> None:
    daemon = "spark.python.daemon.module=udfs.worker_daemon"
    assert is_worker(["python", "-m", "udfs.worker_daemon", "pyspark.worker"])
    assert is_worker(["python3", "-m", "pyspark.daemon", "pyspark.worker"])
    assert not is_worker(["java", "-cp", "a.jar", "org.apache.spark.deploy.SparkSubmit", "--conf", daemon])
    assert not is_worker([])


def test_a_process_that_ended_holds_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    assert (share(ended.pid), command(ended.pid)) == (0, [])


def test_what_a_child_holds_is_the_drivers_unless_it_is_a_worker() -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    seen = Peaks()
    seen.look(child.pid)
    child.communicate(b"\n")
    assert 64 << 20 < seen.driver < 96 << 20
    assert (seen.worker, seen.workers) == (0, 0)


def test_what_ended_meanwhile_was_spent_all_the_same() -> None:
    """Of a grandchild, too, that nobody waited for."""
    spin = "import os, time\nwhile time.process_time() < 0.6: pass"
    ignored = f"import signal, subprocess, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
subprocess.Popen([sys.executable, '-c', {spin!r}]).wait()"
    with Meter(every=0.02) as meter:
        subprocess.run([sys.executable, "-c", ignored], check=False)
    assert 0.5 < meter.seconds < 3
