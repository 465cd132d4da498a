"""One run at a time on a root: a lock file that names its holder.

A dead holder on this host is taken over at once; one on another host after its lease ran out. A run that was
itself taken over (its machine slept), or could not renew its lock for as long as the lease (its storage was gone),
stops and writes no more.
"""

from __future__ import annotations

import json
import os
import posixpath
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

import fsspec
from fsspec.implementations.local import LocalFileSystem

from jobs.runtime.errors import RootHeld, said

LEASE_S = 600.0
HEARTBEAT_S = 60.0
ENDING_S = 30.0  # that a run which ends waits for a sign of life that is under way
GUARD = "_lock.guard"  # an empty file that stays: whoever looks at the lock to write it holds this one
SETTLE_S = 2.0  # on storage without exclusive access: longer than another run needs from its look to its write


@dataclass(frozen=True)
class Holder:
    """Who holds a root."""

    host: str
    space: str  # of process ids: those of another container on the host mean nothing here
    pid: int
    started: float  # seconds since the epoch
    process_start: str  # tells a reused pid from the holder
    token: str
    beat: float

    def says(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.started))
        return f"process {self.pid} on {self.host}, started {since}"


class RootLock:
    """Context manager that holds `<state>/_lock` and renews it while the run lives.

    `on_loss` is called with the error, from a thread of the lock's own, when another run took the root over, or may
    have done so because the lease ran out.
    """

    def __init__(self, state: str, on_loss: Callable[[RootHeld], None] = lambda error: None) -> None:
        self._path = posixpath.join(state, "_lock")
        self._state = state
        self._on_loss = on_loss
        self._files, self._file = fsspec.core.url_to_fs(self._path)
        self._folder = posixpath.dirname(self._file)
        self._stop = threading.Event()
        self._left = threading.Event()  # set when the run ended without its beat, which then removes the lock itself
        self._beats = threading.Thread(target=self._renew, daemon=True)
        self._seen = time.time()  # when the lock was last known to be ours
        self._renewed = self._seen  # the last sign of life that others can see
        self._lost: RootHeld | None = None
        now = time.time()
        start = _process_start(os.getpid())
        self._me = Holder(socket.gethostname(), _process_space(), os.getpid(), now, start, uuid.uuid4().hex, now)

    def __enter__(self) -> RootLock:
        self._files.makedirs(self._folder, exist_ok=True)
        self._locks = isinstance(self._files, LocalFileSystem) and _can_lock(self._folder)
        with self._alone():
            holder = self._read()
            if holder is not None and _alive(holder):
                raise RootHeld(
                    f"another run holds {self._state}: {holder.says()}. "
                    "Wait for it to end; a run that died is taken over by itself."
                )
            self._write()
        if not self._locks:
            time.sleep(SETTLE_S)  # of several that found the root free, the last one to write has it
            self._confirm()
        self._beats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._beats.join(ENDING_S)
        if self._beats.is_alive():  # a slow store may write the lock once more: removed now, it would be there again
            self._left.set()
        elif self._lost is None:
            self._release()
        else:
            with suppress(Exception):  # the storage may still be away, and the loss is what the run ends with
                self._release()

    def _release(self) -> None:
        """Remove the lock if it is ours."""
        with self._alone():
            held = self._read()
            if held is not None and held.token == self._me.token:
                self._files.rm(self._file)

    def require(self) -> None:
        """Raise RootHeld when the root is no longer ours; asks the storage only when the last beat is overdue."""
        if self._lost is not None:
            raise self._lost
        if time.time() - self._seen > 2 * HEARTBEAT_S:
            self._confirm()

    def _confirm(self) -> None:
        held = self._read()
        if held is None or held.token != self._me.token:
            by = "somebody removed its lock" if held is None else f"{held.says()} holds it now"
            raise self._loses(by)
        self._seen = time.time()

    def _loses(self, by: str) -> RootHeld:
        """Nothing is written from here on."""
        self._lost = RootHeld(f"this run lost {self._state}: {by}. It stopped and wrote nothing more; run again.")
        return self._lost

    def _renew(self) -> None:
        """Give signs of life until the run ends or has lost the root."""
        while not self._stop.wait(HEARTBEAT_S):
            try:
                self._beat()
            except RootHeld as error:
                self._on_loss(error)
                return
            except Exception as error:  # clients of object stores raise errors of their own, which are no OSError
                if time.time() - self._renewed < LEASE_S or self._stop.is_set():
                    continue  # a full disk or a lost connection: the lease covers ten beats
                self._on_loss(self._loses(_unrenewed(error)))
                return
        if self._left.is_set():
            with suppress(Exception):  # nobody waits for it any more; the lease covers what stays
                self._release()

    def _beat(self) -> None:
        with self._alone():
            if not self._stop.is_set():
                self._confirm()
            if not self._stop.is_set():  # told in the meantime, by a run that is about to remove the lock
                self._write()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Look and write as one step, where the file system can lock: nobody else is between the two."""
        if not self._locks:
            yield
            return
        with _locked(self._folder):
            yield

    def _read(self) -> Holder | None:
        return _stored(self._files, self._file)

    def _write(self) -> None:
        now = time.time()
        content = json.dumps({**asdict(self._me), "beat": now})
        if self._locks:
            self._replace(content)
        else:
            with self._files.open(self._file, "w") as stream:
                stream.write(content)
        self._renewed = now

    def _replace(self, content: str) -> None:
        whole = Path(f"{self._file}.{self._me.token}")
        try:
            whole.write_text(content, encoding="utf-8")
            whole.replace(self._file)  # never half a lock, not even on a full disk
        finally:
            whole.unlink(missing_ok=True)


def holder_of(state: str) -> Holder | None:
    """The living run that holds a root, without touching its lock; None when nobody does."""
    files, path = fsspec.core.url_to_fs(posixpath.join(state, "_lock"))
    holder = _stored(files, path)
    return holder if holder is not None and _alive(holder) else None


def _unrenewed(error: Exception) -> str:
    """Why nobody can tell any more whose the root is."""
    return (
        f"its lock could not be renewed for {LEASE_S / 60:.0f} minutes ({said(error)}), after which another run may "
        "take the root over"
    )


def _stored(files: fsspec.AbstractFileSystem, path: str) -> Holder | None:
    try:
        with files.open(path, "r") as stream:
            found = json.load(stream)
        return Holder(**{field.name: found[field.name] for field in fields(Holder)})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None  # no lock, or one that no run of ours wrote


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    import fcntl

    handles = [os.open(folder, os.O_RDONLY)]
    try:
        fcntl.flock(handles[0], fcntl.LOCK_EX)
        # NFS locks a folder for the processes of one host only, and a file that is open for writing for all hosts.
        with suppress(OSError):  # a full or read-only disk, which the run will tell, or another user's file
            handles.append(os.open(posixpath.join(folder, GUARD), os.O_RDWR | os.O_CREAT, 0o666))
        fcntl.flock(handles[-1], fcntl.LOCK_EX)
        yield
    finally:
        for handle in reversed(handles):
            os.close(handle)


def _can_lock(folder: str) -> bool:
    """Whether this file system locks folders and files; mounted object stores and some network mounts do not."""
    try:
        with _locked(folder):
            return True
    except (ImportError, OSError):
        return False


def _alive(holder: Holder) -> bool:
    if holder.host == socket.gethostname() and holder.space == _process_space():
        return bool(holder.process_start) and _process_start(holder.pid) == holder.process_start
    return time.time() - holder.beat < LEASE_S


def _process_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _process_start(pid: int) -> str:
    """Start mark of a living process; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:  # noqa: PTH123
            told = stream.read().rpartition(")")[2].split()
        return "" if told[0] in "ZX" else told[19]  # a killed process that nobody collected is dead
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
