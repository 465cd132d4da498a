"""MLflow's database: put in its place whole, made anew where half of one lies, left alone where runs are in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from jobs.runtime.tracking_store import MAKING, local_store, make_whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database as it is before its first run."""
    place = local_store(str(tmp_path_factory.mktemp("root")))
    make_whole(place)
    return place.read_bytes()


def tables(place: Path) -> set[str]:
    with closing(sqlite3.connect(place)) as opened:
        return {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_half_of_one_is_made_anew(tmp_path: Path, whole: bytes) -> None:
    """As a kill leaves it: some of the tables, at the revision of some step on the way."""
    place = local_store(str(tmp_path))
    left = place.parent / f"{MAKING}1"
    left.mkdir()
    (left / "mlflow.db").write_text("by the run that was killed")
    with closing(sqlite3.connect(place)) as half, half:
        half.executescript(
            "CREATE TABLE registered_models (name VARCHAR(256));"
            "CREATE TABLE alembic_version (version_num VARCHAR(32));"
            "INSERT INTO alembic_version VALUES ('2b4d017a5e9b')"
        )
    make_whole(place)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{place}")
    run = client.create_run(client.create_experiment("mine"))
    assert client.get_run(run.info.run_id).info.run_id == run.info.run_id
    assert [path.name for path in place.parent.iterdir()] == ["mlflow.db"]
    held = place.read_bytes()
    make_whole(place)
    assert place.read_bytes() == held, "runs are in it now"


def test_a_whole_one_is_left_alone(tmp_path: Path, whole: bytes) -> None:
    place = local_store(str(tmp_path))
    place.write_bytes(whole)
    inode = place.stat().st_ino
    make_whole(place)
    assert place.read_bytes() == whole and place.stat().st_ino == inode and "runs" in tables(place)


def test_nothing_is_in_its_place_when_it_cannot_be_made(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    place = local_store(str(tmp_path))
    monkeypatch.setattr(mlflow.MlflowClient, "search_experiments", refuses)
    with pytest.raises(OSError, match="No space left"):
        make_whole(place)
    assert list(place.parent.iterdir()) == []
    place.write_bytes(b"")
    monkeypatch.undo()
    make_whole(place)
    assert tables(place) >= {"runs", "alembic_version"}
