"""Ends a run that was told to stop: by SIGTERM, by Ctrl-C, or because it lost its root.

Spark's jobs are cancelled, so the run's own thread comes back from whatever it waits for and closes up as after
any error. Under spark-submit a signal reaches the JVM, which would tear Spark down under the running batch; it
is passed on to this process instead.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any

from pyspark import SparkContext

from jobs.runtime.errors import Interrupted, LongloomError

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOOK_S = 0.2  # between two looks whether the run was told to stop


class Stop:
    """Takes SIGTERM and SIGINT while it is entered; the first reason to stop is the one that counts."""

    def __init__(self, context: SparkContext) -> None:
        self._context = context
        self._told = threading.Event()
        self._undo: list[Callable[[], object]] = []
        self.reason: LongloomError | None = None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
            for number in SIGNALS:
                before = signal.signal(number, lambda got, _: self.request(Interrupted(got)))
                self._undo.append(partial(signal.signal, number, before))
        if "PYSPARK_GATEWAY_PORT" in os.environ and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
            self._take_from_jvm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for undo in self._undo:
            undo()

    def request(self, reason: LongloomError) -> None:
        """Stop the run with `reason` as its error. May be called from any thread, and again."""
        if not self._told.is_set():
            self.reason = reason
            self._told.set()

    def check(self) -> None:
        """Raise the reason when the run was told to stop."""
        if self.reason is not None:
            raise self.reason

    def wait(self, seconds: float) -> None:
        """Sleep; raises the reason as soon as there is one."""
        self._told.wait(seconds)
        self.check()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within it every Spark job fails once the run is told to stop, and the reason is raised instead."""
        over = threading.Event()
        canceller = threading.Thread(target=self._cancel, args=(over,), daemon=True)
        canceller.start()
        try:
            yield
        except Exception as error:
            if self.reason is None or isinstance(error, LongloomError):
                raise
            raise self.reason from error
        finally:
            over.set()
            canceller.join()

    def _cancel(self, over: threading.Event) -> None:
        while not over.wait(LOOK_S):
            if self._told.is_set():
                self._context.setLogLevel("OFF")  # what is cancelled on purpose is no error to report
                self._context.cancelAllJobs()  # again and again: the run may just be about to start one

    def _take_from_jvm(self) -> None:
        from pyspark.java_gateway import ensure_callback_server_started

        gateway: Any = self._context._gateway
        start_callbacks: Any = ensure_callback_server_started
        start_callbacks(gateway)
        jvm, passed_on = gateway.jvm.sun.misc, _PassedOn(self)
        for number in SIGNALS:
            taken = jvm.Signal(number.name.removeprefix("SIG"))
            before = jvm.Signal.handle(taken, passed_on)
            self._undo.append(partial(jvm.Signal.handle, taken, before))


class _PassedOn:
    """What the JVM calls when it gets a signal, in place of ending."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def handle(self, got: Any) -> None:  # the name that Java looks for
        self._stop.request(Interrupted(got.getNumber()))

    class Java:
        implements = ("sun.misc.SignalHandler",)
