"""One run at a time on a root: a lock file that names its holder.

A dead holder on this host is taken over at once; one on another host after its lease ran out.
"""

from __future__ import annotations

import json
import os
import posixpath
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from types import TracebackType

import fsspec

from jobs.runtime.errors import RootHeld

LEASE_S = 600.0
HEARTBEAT_S = 60.0


@dataclass(frozen=True)
class Holder:
    """Who holds a root."""

    host: str
    pid: int
    started: float  # seconds since the epoch
    process_start: str  # tells a reused pid from the holder
    token: str
    beat: float

    def says(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.started))
        return f"process {self.pid} on {self.host}, started {since}"


class RootLock:
    """Context manager that holds `<state>/_lock` and renews it while the run lives."""

    def __init__(self, state: str) -> None:
        self._path = posixpath.join(state, "_lock")
        self._files, self._file = fsspec.core.url_to_fs(self._path)
        self._stop = threading.Event()
        now = time.time()
        self._me = Holder(socket.gethostname(), os.getpid(), now, _process_start(os.getpid()), uuid.uuid4().hex, now)

    def __enter__(self) -> RootLock:
        holder = self._read()
        if holder is not None and _alive(holder):
            raise RootHeld(
                f"another run holds {posixpath.dirname(self._path)}: {holder.says()}. "
                "Wait for it to end; a run that died is taken over by itself."
            )
        self._files.makedirs(posixpath.dirname(self._file), exist_ok=True)
        self._write(exclusive=holder is None)
        written = self._read()
        if written is None or written.token != self._me.token:
            raise RootHeld(f"another run took {posixpath.dirname(self._path)} at the same moment; run again.")
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        held = self._read()
        if held is not None and held.token == self._me.token:
            self._files.rm(self._file)

    def _renew(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            self._write(exclusive=False)

    def _read(self) -> Holder | None:
        try:
            with self._files.open(self._file, "r") as stream:
                return Holder(**json.load(stream))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # no lock, or one torn by a crash while it was written

    def _write(self, exclusive: bool) -> None:
        content = json.dumps({**asdict(self._me), "beat": time.time()})
        if exclusive and self._files.protocol in ("file", ("file", "local")):
            try:
                handle = os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if self._read() is not None:
                    return
                handle = os.open(self._file, os.O_WRONLY | os.O_TRUNC)
            with os.fdopen(handle, "w") as stream:
                stream.write(content)
            return
        with self._files.open(self._file, "w") as stream:
            stream.write(content)


def _alive(holder: Holder) -> bool:
    if holder.host == socket.gethostname():
        return bool(holder.process_start) and _process_start(holder.pid) == holder.process_start
    return time.time() - holder.beat < LEASE_S


def _process_start(pid: int) -> str:
    """Start mark of a living process; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:  # noqa: PTH123
            return stream.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
