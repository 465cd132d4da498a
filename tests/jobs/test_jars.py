"""The jar lock, and what fetching does when the source is missing, torn or somebody else's."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.runtime import checkout, jars
from jobs.runtime.jars import OFFLINE, Jar, JarError, JarLock, faults, fetch, jar_paths, read_lock


@pytest.fixture
def lock() -> JarLock:
    """Two small files."""
    files = {"a.jar": b"first", "b.jar": b"second"}
    rows = tuple(Jar(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    return JarLock(("group:artefact:1",), (), "group:graphframes:1", rows)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with what the lock names."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.jar").write_bytes(b"first")
    (folder / "b.jar").write_bytes(b"second")
    return folder


def test_the_real_lock_names_the_fetched_files() -> None:
    real = read_lock()
    assert len(real.jars) == 3 and all(len(jar.sha256) == 64 for jar in real.jars)
    assert faults(real, checkout.JARS, hashes=True) == []
    assert [path.name for path in jar_paths(real)] == [jar.file for jar in real.jars]


def test_coordinates_carry_the_spark_line_of_the_installed_packages() -> None:
    """Without its suffix the Delta artefact means another Spark; the wrapper and the core must be of one version."""
    from importlib.metadata import version

    line = ".".join(version("pyspark").split(".")[:2])
    assert f"io.delta:delta-spark_{line}_2.13:{version('delta-spark')}" in read_lock().packages
    assert read_lock().graphframes.rsplit(":", 1)[1] == version("graphframes-py")
    assert "*:*" not in read_lock().excludes


def test_offline_folder_is_copied(lock: JarLock, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "jars"
    fetch(lock, target, {OFFLINE: str(source)})
    assert sorted(path.name for path in target.iterdir()) == ["a.jar", "b.jar"]
    assert faults(lock, target, hashes=True) == []


def test_what_is_right_is_not_fetched_again(lock: JarLock, source: Path) -> None:
    fetch(lock, source, {OFFLINE: "/nowhere"})


@pytest.mark.parametrize(
    ("data", "said"), [(b"firsd", "sha256"), (b"fir", "3 bytes, locked are 5"), (None, "a.jar is missing")]
)
def test_wrong_files_are_named_and_nothing_is_adopted(
    lock: JarLock, source: Path, tmp_path: Path, data: bytes | None, said: str
) -> None:
    if data is None:
        (source / "a.jar").unlink()
    else:
        (source / "a.jar").write_bytes(data)
    with pytest.raises(JarError, match=r"not the ones of infra/jars\.lock") as caught:
        fetch(lock, tmp_path / "jars", {OFFLINE: str(source)})
    assert said in str(caught.value) and "b.jar" not in str(caught.value).replace(str(source), "")
    assert not (tmp_path / "jars").exists()


def test_a_torn_file_in_place_is_replaced(lock: JarLock, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "jars"
    target.mkdir()
    (target / "a.jar").write_bytes(b"fi")
    fetch(lock, target, {OFFLINE: str(source)})
    assert (target / "a.jar").read_bytes() == b"first"


def test_a_failed_download_is_tried_once_more(
    lock: JarLock, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def flaky(*_: object) -> Path:
        tries.append(1)
        if len(tries) == 1:
            raise JarError("the line broke")
        return source

    monkeypatch.setattr(jars, "resolve", flaky)
    fetch(lock, tmp_path / "jars", {})
    assert len(tries) == 2 and faults(lock, tmp_path / "jars", hashes=True) == []


def test_an_unknown_coordinate_is_a_clear_error(lock: JarLock, tmp_path: Path) -> None:
    """Spark's Ivy is really asked; with or without a network it cannot know this name."""
    unknown = replace(lock, packages=("longloom.invalid:no-such-artefact:0",))
    with pytest.raises(JarError, match=r"could not resolve longloom\.invalid:no-such-artefact:0") as caught:
        jars.resolve(unknown, tmp_path, os.environ)
    assert OFFLINE in str(caught.value) and "no-such-artefact" in str(caught.value).split("last lines")[1]
