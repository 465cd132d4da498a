"""One run at a time: a living holder is named, a dead one is taken over."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jobs.runtime import lock as locks
from jobs.runtime.errors import RootHeld
from jobs.runtime.lock import LEASE_S, RootLock


def test_second_run_is_refused_by_name(tmp_path: Path) -> None:
    with (
        RootLock(str(tmp_path)),
        pytest.raises(RootHeld, match=r"process \d+ on .+, started 20"),
        RootLock(str(tmp_path)),
    ):
        pass
    assert not (tmp_path / "_lock").exists()


def _edit(lock: Path, **changes: object) -> None:
    lock.write_text(json.dumps({**json.loads(lock.read_text()), **changes}))


def test_dead_holder_on_this_host_is_taken_over_at_once(tmp_path: Path) -> None:
    with RootLock(str(tmp_path)):
        _edit(tmp_path / "_lock", pid=2**22 + 1, process_start="1")
        with RootLock(str(tmp_path)):
            assert json.loads((tmp_path / "_lock").read_text())["pid"] != 2**22 + 1


def test_reused_pid_does_not_keep_the_lock(tmp_path: Path) -> None:
    with RootLock(str(tmp_path)):
        _edit(tmp_path / "_lock", process_start="an earlier process of the same number")
        with RootLock(str(tmp_path)):
            pass


def test_other_hosts_holder_keeps_its_lease(tmp_path: Path) -> None:
    assert LEASE_S == 600, "ten minutes, as docs/operations.md says"
    with RootLock(str(tmp_path)):
        _edit(tmp_path / "_lock", host="elsewhere", beat=time.time())
        with pytest.raises(RootHeld, match="elsewhere"), RootLock(str(tmp_path)):
            pass
        _edit(tmp_path / "_lock", beat=time.time() - LEASE_S - 1)
        with RootLock(str(tmp_path)):
            pass


def test_torn_lock_is_no_holder(tmp_path: Path) -> None:
    (tmp_path / "_lock").write_text('{"host": "x"')
    with RootLock(str(tmp_path)):
        assert json.loads((tmp_path / "_lock").read_text())["pid"]


def test_other_containers_processes_cannot_be_seen_from_here(tmp_path: Path) -> None:
    """One host, two spaces of process ids: our table says nothing of theirs, so the lease counts."""
    with RootLock(str(tmp_path)):
        _edit(tmp_path / "_lock", space="pid:[1]", pid=2**22 + 1, process_start="1")
        with pytest.raises(RootHeld), RootLock(str(tmp_path)):
            pass


def test_a_killed_process_that_nobody_collected_is_dead(tmp_path: Path) -> None:
    with RootLock(str(tmp_path)):
        dead = subprocess.Popen(["sleep", "60"])
        mark = locks._process_start(dead.pid)
        _edit(tmp_path / "_lock", pid=dead.pid, process_start=mark)
        with pytest.raises(RootHeld), RootLock(str(tmp_path)):
            pass
        dead.kill()
        while f"/{dead.pid} (sleep) Z" not in f"/{Path(f'/proc/{dead.pid}/stat').read_text()}":
            time.sleep(0.01)
        with RootLock(str(tmp_path)):
            pass
        dead.wait()


def test_what_is_locked_is_a_file_open_for_writing_where_it_can_be(tmp_path: Path) -> None:
    """NFS locks a folder for one host only. Another user's file, or a full disk, leaves the folder."""
    import fcntl

    with locks._locked(str(tmp_path)), (tmp_path / locks.GUARD).open("r+") as guard, pytest.raises(BlockingIOError):
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / locks.GUARD).open("r+") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    (tmp_path / "other" / locks.GUARD).mkdir(parents=True)  # cannot be opened for writing
    folder = os.open(tmp_path / "other", os.O_RDONLY)
    with locks._locked(str(tmp_path / "other")), pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


@pytest.mark.parametrize("remote", [False, True])
def test_of_many_that_find_a_dead_holder_one_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    monkeypatch.setattr(locks, "SETTLE_S", 0.3)
    for number in range(3 if remote else 20):
        state = f"memory://locks/{number}" if remote else str(tmp_path / str(number))
        probe = RootLock(state)
        with probe:
            pass
        _leave_dead(probe)
        together, over, held, refused = threading.Barrier(8), threading.Event(), list[int](), list[str]()

        def take(state: str = state, together=together, over=over, held=held, refused=refused) -> None:  # type: ignore[no-untyped-def]
            together.wait()
            try:
                with RootLock(state):
                    held.append(1)
                    over.wait(10)
            except RootHeld as error:
                refused.append(str(error))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(held) + len(refused) < 8:
            time.sleep(0.005)
        over.set()
        for thread in threads:
            thread.join()
        assert (len(held), len(refused)) == (1, 7), refused


def _leave_dead(lock: RootLock) -> None:
    """Leave a lock whose holder is gone."""
    lock._write()
    held = lock._read()
    assert held is not None
    with lock._files.open(lock._file, "w") as stream:
        json.dump({**held.__dict__, "pid": 2**22 + 1, "process_start": "1", "token": "dead"}, stream)


def test_a_run_that_lost_its_root_is_told_and_leaves_the_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.02)
    told = threading.Event()
    errors: list[RootHeld] = []
    mine = RootLock(str(tmp_path), lambda error: (errors.append(error), told.set()))  # type: ignore[func-returns-value]
    with mine:
        mine.require()
        with mine._alone():
            _edit(tmp_path / "_lock", host="elsewhere", token="another", beat=time.time())
        taken = (tmp_path / "_lock").read_text()
        assert told.wait(5)
        assert "process" in str(errors[0]) and "elsewhere" in str(errors[0]) and errors[0].exit_status == 5
        with pytest.raises(RootHeld, match="lost"):
            mine.require()
    assert (tmp_path / "_lock").read_text() == taken


def test_a_run_that_slept_through_its_lease_asks_before_it_writes(tmp_path: Path) -> None:
    """The heartbeat's own thread may wake later than the run."""
    with RootLock(str(tmp_path)) as mine:
        _edit(tmp_path / "_lock", host="elsewhere", token="another", beat=time.time())
        mine._seen -= LEASE_S
        with pytest.raises(RootHeld, match="elsewhere"):
            mine.require()


def test_a_full_disk_does_not_end_the_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.02)
    with RootLock(str(tmp_path)) as mine:
        before = (tmp_path / "_lock").read_text()
        write, tried = mine._write, threading.Event()

        def full() -> None:
            tried.set()
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(mine, "_write", full)
        assert tried.wait(5)
        assert (tmp_path / "_lock").read_text() == before
        monkeypatch.setattr(mine, "_write", write)
        while (tmp_path / "_lock").read_text() == before:
            time.sleep(0.01)
    assert [path.name for path in tmp_path.iterdir()] == [locks.GUARD]


class ClientFault(Exception):
    """As botocore's EndpointConnectionError and Azure's ServiceRequestError are: no OSError."""


class Store(MemoryFileSystem):
    """An object store that can be out of reach, and slow to take what is written."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.tried, self.writing, self.taken = threading.Event(), threading.Event(), threading.Event()
        self.taken.set()

    def open(self, path: str, mode: str = "rb", **told: Any) -> Any:  # type: ignore[override]
        if self.away:
            self.tried.set()
            raise ClientFault('Could not connect to the endpoint URL: "https://bucket/_lock"')
        if "w" in mode and not self.taken.is_set():
            self.writing.set()
            assert self.taken.wait(10)
        return super().open(path, mode, **told)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(locks, "SETTLE_S", 0.0)
    made = Store()
    yield made
    made.away = False
    made.taken.set()
    made.rm("/lost", recursive=True)


def lock_on(store: Store, **told: Any) -> RootLock:
    made = RootLock("memory://lost/place", **told)
    made._files = store
    return made


def beat_in(lock: RootLock) -> float:
    held = lock._read()
    return 0.0 if held is None else held.beat


def soon(done: Callable[[], object]) -> None:
    for _ in range(500):
        if done():
            return
        time.sleep(0.01)
    raise TimeoutError("five seconds have passed")


def test_errors_of_a_stores_own_do_not_end_the_heartbeat(store: Store) -> None:
    lost: list[RootHeld] = []
    with lock_on(store, on_loss=lost.append) as mine:
        store.away = True
        assert store.tried.wait(5)
        store.away = False
        before = beat_in(mine)
        soon(lambda: beat_in(mine) > before)
        mine.require()
    assert not lost and not store.exists("/lost/place/_lock")


def test_a_run_whose_lease_ran_out_unseen_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host may have taken the root over: nobody can look."""
    monkeypatch.setattr(locks, "LEASE_S", 0.2)
    lost: list[RootHeld] = []
    with lock_on(store, on_loss=lost.append) as mine:
        store.away = True
        soon(lambda: lost)
        assert "could not be renewed" in str(lost[0]) and "ClientFault: Could not connect" in str(lost[0])
        with pytest.raises(RootHeld, match="run again"):
            mine.require()
        assert len(lost) == 1 and lost[0].exit_status == 5


def test_a_write_that_is_under_way_does_not_bring_the_lock_back(store: Store) -> None:
    with lock_on(store):
        store.taken.clear()
        assert store.writing.wait(5)
        threading.Timer(0.2, store.taken.set).start()
    assert not store.exists("/lost/place/_lock")
    time.sleep(0.3)
    assert not store.exists("/lost/place/_lock")


def test_a_run_does_not_wait_for_ever_for_a_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is left to its thread, which removes what it wrote."""
    monkeypatch.setattr(locks, "ENDING_S", 0.1)
    with lock_on(store):
        store.taken.clear()
        assert store.writing.wait(5)
    assert store.exists("/lost/place/_lock"), "nobody else gets in while it is under way"
    store.taken.set()
    soon(lambda: not store.exists("/lost/place/_lock"))
