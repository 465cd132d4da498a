"""One run at a time: a living holder is named, a dead one is taken over."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

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
